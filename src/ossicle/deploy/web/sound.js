// A file or the microphone -> samples at the model's rate, converted by the browser.

// The samples of a sound file, one Float32Array a channel; as they are in it where the rate is the model's.
export async function decoded(file, rate) {
  const context = new OfflineAudioContext(1, 1, rate);
  let sound;
  try {
    sound = await context.decodeAudioData(await file.arrayBuffer());
  } catch {
    throw new Error(`${file.name} is no sound that this browser can read`);
  }
  return Array.from({ length: sound.numberOfChannels }, (_, channel) => sound.getChannelData(channel));
}

// Calls `push` with blocks of the microphone's samples until the function that it gives is called; `lost` where the
// microphone is taken away. What a browser does for voices (echo, noise, loudness) is asked to be left undone.
export async function microphone({ sample_rate: rate, channels }, push, lost) {
  if (!navigator.mediaDevices) throw new Error("a browser lends its microphone to https and to localhost alone");
  const asked = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: channels };
  const media = await navigator.mediaDevices.getUserMedia({ audio: asked });
  const context = new AudioContext({ sampleRate: rate });
  try {
    await context.audioWorklet.addModule(new URL("tap.js", import.meta.url));
    const tap = new AudioWorkletNode(context, "tap", { numberOfOutputs: 0 });
    tap.port.onmessage = ({ data }) => push(data);
    context.createMediaStreamSource(media).connect(tap);
    await context.resume();
  } catch (error) {
    release(media, context);
    throw error;
  }
  media.getAudioTracks()[0].onended = lost;
  return () => release(media, context);
}

function release(media, context) {
  for (const track of media.getTracks()) track.stop();
  context.close();
}
