// Dictate a WAV file as a stranger would: from the services' documents, with Node's most used WebSocket and
// MessagePack packages and nothing of flowpi.
//
//   node dictate.mjs flow|flow-msgpack|suki BASE_URL FILE.wav
//
// Prints one JSON object: `texts`, one an utterance; `messages`, all that the server said, in order; `closes`, the
// close code of each connection. Fails, with the reason on stderr, where the server departs from the documents.

import assert from "node:assert/strict";
import { once } from "node:events";

import { decode, encode } from "@msgpack/msgpack";
import WebSocket from "ws";

import { cut, readSamples, volume, wavFile } from "./wav.mjs";

const PATIENCE_MS = 60_000;

const [dialect, base, path] = process.argv.slice(2);
const samples = readSamples(path);
const report = { texts: [], messages: [], closes: [] };

setTimeout(() => {
  console.error("no text in time; the server said", JSON.stringify(report.messages));
  process.exit(1);
}, PATIENCE_MS).unref();

/** An open socket whose `next()` is the next message, or null once it is closed. */
async function connect(url, headers, read) {
  const socket = new WebSocket(url, { headers });
  const arrived = [];
  let wake = () => {};
  socket.on("message", (data, isBinary) => {
    const message = read(data, isBinary);
    report.messages.push(message);
    arrived.push(message);
    wake();
  });
  socket.on("close", (code) => {
    report.closes.push(code);
    arrived.push(null);
    wake();
  });
  await once(socket, "open");
  socket.next = async () => {
    while (arrived.length === 0) await new Promise((resolve) => (wake = resolve));
    return arrived.shift();
  };
  return socket;
}

function readJson(data, isBinary) {
  assert(!isBinary, "a text frame is asked for");
  return JSON.parse(data.toString());
}

function readMsgpack(data, isBinary) {
  assert(isBinary, "a binary frame is asked for");
  return decode(data);
}

/** An append a second; the packets are WAV files, as base64 or MessagePack's bin. */
async function dictateFlow(msgpack) {
  const socket = msgpack
    ? await connect(`${base}/api/v1/dash/ws?api_key=Bearer%20fl-canary`, { Encoding: "msgpack" }, readMsgpack)
    : await connect(`${base}/api/v1/dash/client_ws?client_key=Bearer%20canary.b.c`, {}, readJson);
  const send = (message) => socket.send(msgpack ? encode(message) : JSON.stringify(message));

  send({
    type: "auth",
    access_token: msgpack ? "fl-canary" : "canary.b.c",
    language: ["en"],
    context: { app: { name: "notes", type: "other" }, dictionary_context: ["Dashwood"] },
  });
  assert.deepEqual(await socket.next(), { status: "auth" });

  const packets = cut(samples, 1);
  packets.forEach((packet, position) =>
    send({
      type: "append",
      position,
      audio_packets: {
        packets: [msgpack ? wavFile(packet) : wavFile(packet).toString("base64")],
        volumes: [volume(packet)],
        packet_duration: 1,
        audio_encoding: "wav",
        byte_encoding: msgpack ? "binary" : "base64",
      },
    }),
  );
  send({ type: "commit", total_packets: packets.length });

  let text;
  for (let message; (message = await socket.next()) !== null; ) {
    if (message.status === "text" && message.final) text = message.body.text;
  }
  assert.notEqual(text, undefined, "closed without a final text");
  report.texts.push(text);
}

async function post(url, headers, body) {
  const response = await fetch(base.replace(/^ws/, "http") + url, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: body && JSON.stringify(body),
  });
  assert(response.ok, `${url}: HTTP ${response.status}: ${await response.clone().text()}`);
  return { status: response.status, ...(await response.json()) };
}

/** Login, create, two utterances of one session as push-to-talk makes them, end. */
async function dictateSuki() {
  const { suki_token } = await post("/api/v1/auth/login", {}, { partner_id: "clinic", partner_token: "canary.b.c" });
  const headers = { sdp_suki_token: suki_token };
  const { status, transcription_session_id } = await post("/api/v1/transcription/session/create", headers, {
    audio_config: { audio_encoding: "LINEAR16", audio_language: "en-US", sample_rate_hertz: 16_000 },
  });
  assert.equal(status, 201);
  for (let utterance = 0; utterance < 2; utterance++) {
    const socket = await connect(`${base}/ws/transcribe`, { ...headers, transcription_session_id }, readJson);
    for (const piece of cut(samples, 0.1)) {
      socket.send(JSON.stringify({ type: "AUDIO", audioData: piece.toString("base64") }));
    }
    socket.send(JSON.stringify({ type: "EVENT", event: "AUDIO_END" }));
    const finals = new Map();
    let ended = false;
    for (let message; (message = await socket.next()) !== null; ) {
      const { transcript, is_final, transcript_id } = message.transcript;
      assert(!ended, "nothing follows EOF");
      if (transcript === "EOF" && transcript_id === undefined) ended = true;
      else if (is_final) finals.set(transcript_id, transcript);
    }
    assert(ended, "closed without EOF");
    report.texts.push([...finals.values()].join(" "));
  }
  await post(`/api/v1/transcription/session/${transcription_session_id}/end`, headers);
}

if (dialect === "suki") await dictateSuki();
else await dictateFlow(dialect === "flow-msgpack");
console.log(JSON.stringify(report));
