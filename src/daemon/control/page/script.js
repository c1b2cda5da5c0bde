// Comfort alone: all that is told can be read, and all that is done can be done, without it.
"use strict";

// The page is loaded again while it is looked at and nobody is at something on it.
const refresh = Number(document.body.dataset.refresh);
if (refresh > 0) {
  const isFree = () =>
    document.visibilityState === "visible" &&
    document.activeElement === document.body &&
    document.querySelector("details[open]") === null &&
    String(document.getSelection()) === "";
  setInterval(() => {
    if (isFree()) {
      location.reload();
    }
  }, refresh * 1000);
}

// Times are UTC; the local one is shown where the pointer rests.
for (const time of document.querySelectorAll("time")) {
  time.title = new Date(time.dateTime).toLocaleString();
}

// A command can be copied.
if (navigator.clipboard) {
  for (const command of document.querySelectorAll("code.command")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "quiet copy";
    button.textContent = "Copy";
    button.setAttribute("aria-label", `Copy: ${command.textContent}`);
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(command.textContent);
      button.textContent = "Copied";
    });
    command.after(button);
  }
}
