"use strict";
(() => {
  const root = document.currentScript.previousElementSibling;
  const canvas = root.querySelector("canvas"), pen = canvas.getContext("2d");
  const data = JSON.parse(root.querySelector("script").textContent);
  const box = root.querySelector(".box"), place = root.querySelector(".place"), legend = root.querySelector(".legend");
  const NEAR_PX = 5, CELL_PX = 26, MANY = 10000, R = 6378137;
  const COLORS = ["#ff9a3d", "#4cc9f0", "#b8e986", "#ff5d8f", "#ffd23f", "#9d8df1", "#2ec4b6", "#f77f00"];
  const STATUS = { SUCCEEDED: "#2ec4b6", FAILED: "#ff4d4d", SKIPPED: "#8a97a5" };
  const boxes = data.rings.map((ring) => {
    let l = Infinity, b = Infinity, r = -Infinity, t = -Infinity;
    for (let i = 0; i < ring.length; i += 2) {
      l = Math.min(l, ring[i]); r = Math.max(r, ring[i]); b = Math.min(b, ring[i + 1]); t = Math.max(t, ring[i + 1]);
    }
    return [l, b, r, t];
  });
  const hidden = new Set();
  let least = 0, picture = null, view = null, drawn = { mode: "", n: 0 };

  const extent = () => {
    const all = data.picture ? [data.picture.bounds] : boxes.length ? boxes : [[0, -1, 1, 0]];
    return all.reduce((a, c) => [Math.min(a[0], c[0]), Math.min(a[1], c[1]), Math.max(a[2], c[2]), Math.max(a[3], c[3])]);
  };
  const fit = () => {
    const [l, b, r, t] = extent(), w = canvas.clientWidth || 1, h = canvas.clientHeight || 1;
    const scale = 0.95 * Math.min(w / Math.max(r - l, 1e-6), h / Math.max(t - b, 1e-6));
    view = { x: (l + r) / 2, y: (b + t) / 2, scale };
  };
  const toScreen = (x, y) => [
    (x - view.x) * view.scale + canvas.clientWidth / 2, (view.y - y) * view.scale + canvas.clientHeight / 2];
  const toPlane = (u, v) => [
    (u - canvas.clientWidth / 2) / view.scale + view.x, view.y - (v - canvas.clientHeight / 2) / view.scale];
  const isShown = (i) => !hidden.has(data.label[i]) && data.score[i] >= least;
  const trace = (ring) => {
    pen.beginPath();
    for (let i = 0; i < ring.length; i += 2) {
      const [u, v] = toScreen(ring[i], ring[i + 1]);
      i ? pen.lineTo(u, v) : pen.moveTo(u, v);
    }
  };

  function density(shown) {
    const cells = new Map();
    for (const i of shown) {
      const [u, v] = toScreen((boxes[i][0] + boxes[i][2]) / 2, (boxes[i][1] + boxes[i][3]) / 2);
      const key = Math.floor(u / CELL_PX) + "," + Math.floor(v / CELL_PX);
      cells.set(key, (cells.get(key) || 0) + 1);
    }
    const most = Math.max(1, ...cells.values());
    for (const [key, n] of cells) {
      const [c, r] = key.split(",").map(Number);
      pen.fillStyle = `rgba(255,154,61,${0.15 + 0.75 * Math.sqrt(n / most)})`;
      pen.fillRect(c * CELL_PX, r * CELL_PX, CELL_PX - 1, CELL_PX - 1);
    }
    return cells.size;
  }

  function draw() {
    const ratio = window.devicePixelRatio || 1, w = canvas.clientWidth, h = canvas.clientHeight;
    canvas.width = w * ratio; canvas.height = h * ratio;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, w, h);
    if (picture) {
      const [l, b, r, t] = data.picture.bounds, [u0, v0] = toScreen(l, t), [u1, v1] = toScreen(r, b);
      pen.imageSmoothingEnabled = view.scale * (r - l) < picture.width * 2;
      pen.drawImage(picture, u0, v0, u1 - u0, v1 - v0);
    }
    for (const tile of data.tiles) {
      trace(tile.ring); pen.fillStyle = STATUS[tile.status] + "2a"; pen.strokeStyle = STATUS[tile.status] + "aa";
      pen.lineWidth = 1; pen.fill(); pen.stroke();
    }
    const [x0, y1] = toPlane(0, 0), [x1, y0] = toPlane(w, h);
    const shown = [];
    let side = 0;
    for (let i = 0; i < boxes.length; i++) {
      const c = boxes[i];
      if (isShown(i) && c[2] >= x0 && c[0] <= x1 && c[3] >= y0 && c[1] <= y1) {
        shown.push(i); side += Math.max(c[2] - c[0], c[3] - c[1]);
      }
    }
    const near = shown.length && (side / shown.length) * view.scale >= NEAR_PX;
    if (shown.length > MANY) drawn = { mode: "density", n: density(shown) };
    else {
      for (const i of shown) {
        const color = COLORS[data.label[i] % COLORS.length];
        pen.strokeStyle = pen.fillStyle = color; pen.lineWidth = 1.6;
        if (near && data.rings[i].length > 2) { trace(data.rings[i]); pen.stroke(); }
        else {
          const [u, v] = toScreen((boxes[i][0] + boxes[i][2]) / 2, (boxes[i][1] + boxes[i][3]) / 2);
          pen.beginPath(); pen.arc(u, v, 2.6, 0, 7); pen.fill();
        }
      }
      drawn = { mode: near ? "boxes" : "points", n: shown.length };
    }
    canvas.dataset.mode = drawn.mode; canvas.dataset.drawn = String(drawn.n);
    canvas.dataset.view = JSON.stringify(view);
  }

  const words = (x, y) => {
    if (!data.placed) return `x ${x.toFixed(1)}, y ${(-y).toFixed(1)}`;
    const lon = (x / R) * 180 / Math.PI, lat = (2 * Math.atan(Math.exp(y / R)) - Math.PI / 2) * 180 / Math.PI;
    return `${lat.toFixed(6)}, ${lon.toFixed(6)}`;
  };
  const at = (event) => { const r = canvas.getBoundingClientRect(); return [event.clientX - r.left, event.clientY - r.top]; };
  const zoom = (u, v, by) => {
    const [x, y] = toPlane(u, v);
    view.scale *= by;
    const [x2, y2] = toPlane(u, v);
    view.x += x - x2; view.y += y - y2; draw();
  };
  canvas.addEventListener("wheel", (event) => { event.preventDefault(); zoom(...at(event), Math.exp(-event.deltaY / 400)); }, { passive: false });
  let held = null;
  canvas.addEventListener("pointerdown", (event) => { held = { at: at(event), moved: false }; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointermove", (event) => {
    const [u, v] = at(event);
    if (held) {
      view.x -= (u - held.at[0]) / view.scale; view.y += (v - held.at[1]) / view.scale;
      held.moved = held.moved || Math.hypot(u - held.at[0], v - held.at[1]) > 2; held.at = [u, v]; draw();
    }
    place.textContent = words(...toPlane(u, v));
  });
  canvas.addEventListener("pointerup", (event) => {
    const [u, v] = at(event), [x, y] = toPlane(u, v), slack = 4 / view.scale;
    const was = held; held = null;
    if (was && was.moved) return;
    let best = -1, area = Infinity;
    boxes.forEach((c, i) => {
      const a = (c[2] - c[0]) * (c[3] - c[1]);
      if (isShown(i) && x >= c[0] - slack && x <= c[2] + slack && y >= c[1] - slack && y <= c[3] + slack && a < area) { best = i; area = a; }
    });
    box.hidden = best < 0;
    if (best < 0) return;
    box.textContent = "";
    const rows = [["class", data.labels[data.label[best]] || "(none)"], ["score", data.score[best]],
      ["place", words((boxes[best][0] + boxes[best][2]) / 2, (boxes[best][1] + boxes[best][3]) / 2)], ["id", data.id[best]]];
    for (const [name, value] of rows) { const p = document.createElement("div"); p.textContent = `${name}: ${value}`; box.append(p); }
    box.style.left = Math.min(u + 10, canvas.clientWidth - 240) + "px"; box.style.top = Math.min(v + 10, canvas.clientHeight - 90) + "px";
  });
  canvas.addEventListener("keydown", (event) => {
    const w = canvas.clientWidth / 2, h = canvas.clientHeight / 2, step = 60 / view.scale;
    const acts = { "+": () => zoom(w, h, 1.5), "-": () => zoom(w, h, 1 / 1.5), "0": () => { fit(); draw(); },
      ArrowLeft: () => { view.x -= step; draw(); }, ArrowRight: () => { view.x += step; draw(); },
      ArrowUp: () => { view.y += step; draw(); }, ArrowDown: () => { view.y -= step; draw(); } };
    if (acts[event.key]) { event.preventDefault(); acts[event.key](); }
  });

  const total = document.createElement("div");
  total.textContent = `${data.n.toLocaleString("en")} features` + (data.n > boxes.length ? `, best ${boxes.length.toLocaleString("en")} shown` : "");
  legend.append(total);
  data.labels.forEach((name, i) => {
    const label = document.createElement("label"), input = document.createElement("input"), swatch = document.createElement("i");
    input.type = "checkbox"; input.checked = true; swatch.style.background = COLORS[i % COLORS.length];
    input.addEventListener("change", () => { input.checked ? hidden.delete(i) : hidden.add(i); draw(); });
    label.append(input, swatch, name || "(no class)"); legend.append(label);
  });
  if (boxes.length) {
    const label = document.createElement("label"), input = document.createElement("input"), told = document.createElement("span");
    input.type = "range"; input.min = 0; input.max = 1; input.step = 0.01; input.value = 0; told.textContent = " score ≥ 0";
    input.addEventListener("input", () => { least = Number(input.value); told.textContent = ` score ≥ ${least}`; draw(); });
    label.append(input, told); legend.append(label);
  }
  legend.addEventListener("submit", (event) => event.preventDefault());
  new ResizeObserver(() => { if (!view || view.scale === 0) fit(); draw(); }).observe(canvas);
  fit(); draw();
  if (data.picture) {
    const image = new Image();
    image.onload = () => { picture = image; draw(); canvas.dataset.picture = `${image.width}x${image.height}`; };
    image.src = data.picture.uri;
  }
})();
