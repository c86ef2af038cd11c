"use strict";

const KEPT = 300; // frames in the plot
const SEND_MS = 66; // between two frames of this device's camera, at least
const SEND_WIDTH = 640;
const NAMES = ["first", "second"]; // of the chosen model and the one beside it, as the style has them

const part = (id) => document.getElementById(id);
const times = [[], []];
let state = null;
let shownRuns = "";

function socketAddress(path) {
  return `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${path}${location.search}`;
}

function say(text) {
  part("fault").textContent = text;
}

async function ask(path, body) {
  const how = body ? { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) } : {};
  const answer = await fetch(path + location.search, how);
  const document = await answer.json();
  if (!answer.ok && !document.error) document.error = `the server answered ${answer.status}`;
  return document;
}

function fill(select, names) {
  select.replaceChildren(...names.map((name) => new Option(name, name)));
}

function showChoice(chosen) {
  part("bundle").value = chosen.bundle;
  part("runtime").value = chosen.runtime;
  part("precision").value = chosen.precision;
  part("compare").checked = chosen.compare;
  say(chosen.error || "");
}

async function choose() {
  say("loading …");
  try {
    showChoice(await ask("/choose", {
      bundle: part("bundle").value, runtime: part("runtime").value, precision: part("precision").value,
      compare: part("compare").checked,
    }));
  } catch (fault) {
    say(String(fault));
  }
}

async function enrol() {
  try {
    say((await ask("/enrol", {})).error || "");
  } catch (fault) {
    say(String(fault));
  }
}

function watch() {
  const socket = new WebSocket(socketAddress("/live"));
  socket.binaryType = "blob";
  socket.onmessage = async (message) => {
    if (typeof message.data === "string") {
      state = JSON.parse(message.data);
      return;
    }
    try {
      const picture = await createImageBitmap(message.data);
      const view = part("view");
      if (view.width !== picture.width || view.height !== picture.height) {
        view.width = picture.width;
        view.height = picture.height;
      }
      view.getContext("2d").drawImage(picture, 0, 0);
      picture.close();
      showState();
    } finally {
      if (socket.readyState === WebSocket.OPEN) socket.send("next");
    }
  };
  socket.onclose = (end) => {
    say(end.reason || "the demo has ended or cannot be reached; trying again");
    setTimeout(watch, 2000);
  };
  socket.onopen = () => say("");
}

function showState() {
  const names = state.runs.map((run) => `${run.runtime} ${run.precision}`);
  const running = [state.runs[0].bundle, ...names].join();
  if (running !== shownRuns) {
    shownRuns = running;
    times.forEach((row) => row.splice(0));
    part("legend").replaceChildren(...names.map((name, i) => {
      const label = document.createElement("span");
      label.className = NAMES[i];
      label.textContent = name;
      return label;
    }));
  }
  state.runs.forEach((run, i) => {
    times[i].push(run.ms);
    if (times[i].length > KEPT) times[i].shift();
  });
  part("fps").textContent = state.fps.toFixed(1);
  const { frames, differing } = state.compared;
  part("differing").textContent = state.runs.length === 2 ? `${differing} of ${frames}` : "–";
  part("stages").textContent = Object.entries(state.ms).map(([name, ms]) => `${name} ${ms.toFixed(1)} ms`).join(", ");
  plot();
}

function plot() {
  const canvas = part("plot");
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, 120];
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const pen = canvas.getContext("2d");
  const style = getComputedStyle(document.documentElement);
  pen.scale(ratio, ratio);
  const highest = Math.max(...times[0], ...times[1], 0.001);
  times.forEach((row, i) => {
    pen.strokeStyle = style.getPropertyValue(`--${NAMES[i]}`);
    pen.lineWidth = 1.5;
    pen.beginPath();
    row.forEach((ms, x) => {
      const [left, top] = [x * width / (KEPT - 1), height - 4 - (height - 22) * ms / highest];
      if (x === 0) pen.moveTo(left, top);
      else pen.lineTo(left, top);
    });
    pen.stroke();
  });
  pen.fillStyle = style.getPropertyValue("--soft");
  pen.font = "12px system-ui, sans-serif";
  pen.fillText(`${highest.toFixed(2)} ms`, 6, 14);
}

async function sendOwnCamera() {
  if (!navigator.mediaDevices) {
    say("a browser gives its camera only to pages over https or of this machine itself");
    return;
  }
  try {
    const own = part("own");
    own.srcObject = await navigator.mediaDevices.getUserMedia({
      audio: false, video: { width: { ideal: SEND_WIDTH }, facingMode: "environment" },
    });
    await own.play();
    part("camera").hidden = true;
    sendFrames(own);
  } catch (fault) {
    say(`this device's camera: ${fault.message}`);
  }
}

function sendFrames(own) {
  const canvas = document.createElement("canvas");
  const socket = new WebSocket(socketAddress("/camera"));
  const send = () => {
    const scale = Math.min(1, SEND_WIDTH / own.videoWidth);
    canvas.width = own.videoWidth * scale;
    canvas.height = own.videoHeight * scale;
    canvas.getContext("2d").drawImage(own, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((jpeg) => {
      if (jpeg && socket.readyState === WebSocket.OPEN) socket.send(jpeg);
    }, "image/jpeg", 0.8);
  };
  socket.onopen = send;
  socket.onmessage = (message) => { // the last one has arrived: no queue grows on a slow network
    if (message.data) say(message.data);
    setTimeout(send, SEND_MS);
  };
  socket.onclose = (end) => {
    own.srcObject.getTracks().forEach((track) => track.stop());
    part("camera").hidden = false;
    say(end.reason || "the camera's connection was lost");
  };
}

async function start() {
  try {
    const choices = await ask("/choices");
    fill(part("bundle"), choices.bundles);
    fill(part("runtime"), choices.runtimes);
    fill(part("precision"), choices.precisions);
    showChoice(choices);
    part("camera").hidden = !choices.camera;
    part("enrol").hidden = !choices.enrols;
  } catch (fault) {
    say(String(fault));
  }
  for (const id of ["bundle", "runtime", "precision", "compare"]) part(id).addEventListener("change", choose);
  part("camera").addEventListener("click", sendOwnCamera);
  part("enrol").addEventListener("click", enrol);
  watch();
}

start();
