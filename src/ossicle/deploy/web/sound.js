// A file or the microphone -> samples, and the rate at which they come.

// The samples of a sound file, one Float32Array a channel, as they are in it; where it does not tell its rate, or this
// browser cannot decode at it, converted by the browser to `usual`.
export async function decoded(file, usual) {
  let content, sound;
  try {
    content = await file.arrayBuffer();
    sound = await decoder(told(new DataView(content)) ?? usual, usual).decodeAudioData(content);
  } catch {
    throw new Error(`${file.name} is no sound that this browser can read`);
  }
  const waves = Array.from({ length: sound.numberOfChannels }, (_, channel) => sound.getChannelData(channel));
  return { waves, rate: sound.sampleRate };
}

function decoder(rate, usual) {
  try {
    return new OfflineAudioContext(1, 1, rate);
  } catch {
    return new OfflineAudioContext(1, 1, usual);
  }
}

// The rate that stands in a WAV, FLAC or Ogg Vorbis file.
function told(bytes) {
  const text = (at, length) => String.fromCharCode(...new Uint8Array(bytes.buffer, at, length));
  if (bytes.byteLength < 48) return undefined;
  if (text(0, 4) === "fLaC") return bytes.getUint32(18) >>> 12;
  if (text(29, 6) === "vorbis") return bytes.getUint32(40, true);
  if (text(8, 4) !== "WAVE") return undefined;
  for (let at = 12; at + 16 <= bytes.byteLength; ) {
    if (text(at, 4) === "fmt ") return bytes.getUint32(at + 12, true);
    const size = bytes.getUint32(at + 4, true);
    at += 8 + size + (size % 2);
  }
}

// Asks for the microphone, which the browser converts to the model's rate. `hear` then calls `push` with blocks of its samples, and `lost` where it is taken away, until
// `release`. What a browser does for voices (echo, noise, loudness) is asked to be left undone.
export async function microphone({ channels, sample_rate: usual }) {
  if (!navigator.mediaDevices) throw new Error("a browser lends its microphone to https and to localhost alone");
  const asked = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: channels };
  const media = await navigator.mediaDevices.getUserMedia({ audio: asked });
  const context = new AudioContext({ sampleRate: usual });
  const release = () => {
    for (const track of media.getTracks()) track.stop();
    context.close();
  };
  try {
    await context.audioWorklet.addModule(new URL("tap.js", import.meta.url));
    await context.resume();
  } catch (error) {
    release();
    throw error;
  }
  const hear = (push, lost) => {
    const tap = new AudioWorkletNode(context, "tap", { numberOfOutputs: 0 });
    tap.port.onmessage = ({ data }) => push(data);
    context.createMediaStreamSource(media).connect(tap);
    media.getAudioTracks()[0].onended = lost;
  };
  return { rate: context.sampleRate, hear, release };
}
