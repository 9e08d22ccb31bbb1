// The page of `ferkit serve`: the server analyzes the pictures.

import { start } from "./app.js";

const UNREACHABLE = "The server can't be reached: check that it is running.";

async function analyze(picture) {
  const blob = await new Promise((resolve) => picture.toBlob(resolve, "image/jpeg", 0.9));
  const form = new FormData();
  form.append("image", blob, "image.jpg");
  let response;
  try {
    response = await fetch("analyze", { method: "POST", body: form });
  } catch {
    throw new Error(UNREACHABLE);
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.detail || `The server answered with an error (${response.status}).`);
  return answer;
}

const here = new URL(".", location.href);
document.getElementById("server").textContent = here.host;
document.getElementById("curl").textContent = `curl -F image=@photo.jpg ${here}analyze`;
start(analyze, "model", UNREACHABLE);
