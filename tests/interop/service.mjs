// Both services as a stranger would build them from their documents, for flowpi's clients to dictate to.
//
//   node service.mjs
//
// Prints its port and serves until its stdin ends. Takes only what the documents show: any other member, order or
// form is answered with an error that names it. The text of an utterance is the SHA-256 of the samples that came.

import assert from "node:assert/strict";
import { createHash, randomUUID } from "node:crypto";
import { createServer } from "node:http";

import { decode, encode } from "@msgpack/msgpack";
import { WebSocketServer } from "ws";

const WAV_HEADER_BYTES = 44;
const TOKEN = "eyJhbGciOiJub25lIn0.e30.canary";

const textOf = (pieces) => createHash("sha256").update(Buffer.concat(pieces)).digest("hex");

function onlyMembers(message, required, optional = []) {
  const known = [...required, ...optional];
  for (const name of Object.keys(message)) assert(known.includes(name), `${name}: in no document`);
  for (const name of required) assert(name in message, `${name}: is missing`);
}

function bytesOf(base64) {
  const bytes = Buffer.from(base64, "base64");
  assert.equal(bytes.toString("base64"), base64, "standard base64 with padding is asked for");
  return bytes;
}

/** The samples of a packet, with or without the header of a WAV file. */
function samplesOf(packet) {
  if (packet.toString("latin1", 0, 4) !== "RIFF") return packet;
  assert.equal(packet.readUInt32LE(4), packet.length - 8);
  assert.equal(packet.toString("latin1", 8, 16), "WAVEfmt ");
  assert.deepEqual([packet.readUInt16LE(20), packet.readUInt16LE(22)], [1, 1]);
  assert.deepEqual([packet.readUInt32LE(24), packet.readUInt16LE(34)], [16_000, 16]);
  assert.equal(packet.readUInt32LE(40), packet.length - WAV_HEADER_BYTES);
  return packet.subarray(WAV_HEADER_BYTES);
}

function serveFlow(socket, request) {
  const msgpack = request.headers.encoding === "msgpack";
  const send = (message) => socket.send(msgpack ? encode(message) : JSON.stringify(message));
  const packets = [];
  let duration, authorised = false;

  const take = (message) => {
    switch (message.type) {
      case "auth":
        onlyMembers(message, ["type", "access_token"], ["language", "context"]);
        assert(!authorised, "auth: once");
        authorised = true;
        return send({ status: "auth" });
      case "append": {
        onlyMembers(message, ["type", "position", "audio_packets"]);
        assert(authorised, "append: before auth");
        assert.equal(message.position, packets.length, "position");
        const audio = message.audio_packets;
        onlyMembers(audio, ["packets", "volumes", "packet_duration", "audio_encoding", "byte_encoding"]);
        assert.equal(audio.volumes.length, audio.packets.length, "volumes");
        assert.equal(audio.packet_duration, (duration ??= audio.packet_duration), "packet_duration: changed");
        assert.equal(audio.audio_encoding, "wav");
        assert.equal(audio.byte_encoding, msgpack ? "binary" : "base64");
        for (const packet of audio.packets) {
          const samples = samplesOf(msgpack ? Buffer.from(packet) : bytesOf(packet));
          assert.equal(samples.length, duration * 32_000, "packet_duration: not that of the packet");
          packets.push(samples);
        }
        return send({ status: "text", position: packets.length, final: false, body: { text: "so far" } });
      }
      case "commit":
        onlyMembers(message, ["type", "total_packets"]);
        assert.equal(message.total_packets, packets.length, "total_packets");
        send({ status: "info", message: { event: "commit_received" } });
        send({
          status: "text", position: packets.length, final: true,
          body: { text: textOf(packets), detected_language: "en" },
        });
        return socket.close(1000);
      default:
        assert.fail(`type: ${message.type}`);
    }
  };
  socket.on("message", (data, isBinary) => {
    try {
      assert.equal(isBinary, msgpack, "the kind of frame");
      take(msgpack ? decode(data) : JSON.parse(data.toString()));
    } catch (error) {
      send({ status: "error", error: error.message });
      socket.close(1000);
    }
  });
}

const sessions = new Map(); // id: whether a socket is open

function serveSuki(socket, id) {
  const pieces = [];
  const say = (transcript) => socket.send(JSON.stringify({ transcript }));
  sessions.set(id, true);
  socket.on("close", () => sessions.set(id, false));
  socket.on("message", (data, isBinary) => {
    try {
      assert(!isBinary, "never binary");
      const message = JSON.parse(data.toString());
      if (message.type === "AUDIO") {
        onlyMembers(message, ["type", "audioData"]);
        pieces.push(bytesOf(message.audioData));
        assert.equal(pieces.at(-1).length, 3_200, "a piece is 100 ms");
        return say({ transcript: "so far", is_final: false, transcript_id: "01JX0000000000000000000001" });
      }
      assert.deepEqual(message, { type: "EVENT", event: "AUDIO_END" });
      say({ transcript: textOf(pieces), is_final: true, transcript_id: "01JX0000000000000000000001" });
      say({ transcript: "EOF" });
      socket.close(1000);
    } catch (error) {
      socket.close(1008, error.message.slice(0, 100));
    }
  });
}

/** Status and body of a REST call. */
function answer({ method, url, headers }, body) {
  assert.equal(method, "POST");
  const message = body === "" ? {} : JSON.parse(body);
  if (url === "/api/v1/auth/login") {
    onlyMembers(message, ["partner_id", "partner_token"], ["provider_id"]);
    return [200, { suki_token: TOKEN }];
  }
  if (headers.sdp_suki_token !== TOKEN) return [401, { code: 16, message: "no token" }];
  if (url === "/api/v1/transcription/session/create") {
    onlyMembers(message, [], ["transcription_session_id", "audio_config"]);
    const id = message.transcription_session_id ?? randomUUID();
    sessions.set(id, false);
    return [201, { transcription_session_id: id }];
  }
  const [, id] = url.match(/^\/api\/v1\/transcription\/session\/([^/]+)\/end$/) ?? [];
  return sessions.delete(id) ? [200, {}] : [404, { code: 5, message: "no such session" }];
}

const server = createServer(async (request, response) => {
  let result;
  try {
    const pieces = await request.toArray();
    result = answer(request, Buffer.concat(pieces).toString());
  } catch (error) {
    result = [400, { code: 3, message: error.message }];
  }
  response.writeHead(result[0], { "Content-Type": "application/json" }).end(JSON.stringify(result[1]));
});

const sockets = new WebSocketServer({ noServer: true });
server.on("upgrade", (request, socket, head) => {
  const url = new URL(request.url, "http://here");
  const key = url.searchParams.get("client_key") ?? url.searchParams.get("api_key") ?? "";
  const { sdp_suki_token, transcription_session_id: id } = request.headers;
  const open = (serve) => sockets.handleUpgrade(request, socket, head, serve);
  if (url.pathname.startsWith("/api/v1/dash/") && key.startsWith("Bearer ")) open((it) => serveFlow(it, request));
  else if (url.pathname === "/ws/transcribe" && sdp_suki_token === TOKEN && sessions.get(id) === false)
    open((it) => serveSuki(it, id));
  else socket.end("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.resume().on("end", () => process.exit());
