"use strict";

function fromBase64(text) {
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
  return bytes;
}

/** Decode base64 and decompress gzip. */
async function inflate(text) {
  const bytes = Uint8Array.fromBase64?.(text) ?? fromBase64(text);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

/** Run Bokeh's script, which is compressed in the page. */
async function loadBokeh() {
  const code = new TextDecoder().decode(await inflate(document.getElementById("bokeh").textContent));
  const script = document.createElement("script");
  script.textContent = code; // the content security policy has its hash
  document.head.append(script);
  Bokeh.set_log_level("warn");
}

/** Draw a figure into an element, and return its document. */
async function embed(item, element) {
  await Bokeh.embed.embed_item(item, element);
  return Bokeh.documents.at(-1);
}

/** Set the colors of the text and the lines of a figure, which a canvas does not get from the page. */
function paint(figure, dark) {
  const text = dark ? "#d4d7dc" : "#33373d";
  const soft = dark ? "#8b9099" : "#868b93";
  for (const model of figure.all_models) {
    const colors = {};
    for (const name of Object.keys(model.attributes)) {
      if (/^((axis_label|major_label|label)_)?text_color$/.test(name)) colors[name] = text;
      if (/^(axis|major_tick|grid)_line_color$/.test(name)) colors[name] = soft;
    }
    if (Object.keys(colors).length) model.setv(colors);
  }
}
