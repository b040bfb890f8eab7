// Adds the browser's own time beside each UTC time of a page. Without this script the page says the same, in UTC.
"use strict";

const MINUTE = 60_000;
const pad = (number) => String(number).padStart(2, "0");

/** Return how far this browser's clock is ahead of UTC at a moment, in minutes: summer time changes it. */
function offset(moment) {
  return -moment.getTimezoneOffset();
}

/** Return a moment as this browser's clock shows it, in the form of the page: "2026-11-24 11:05:09". */
function local(moment) {
  const shifted = new Date(moment.getTime() + offset(moment) * MINUTE);
  return shifted.toISOString().slice(0, 19).replace("T", " ");
}

/** Return what to write beside a UTC text: the time, and the date where it is another one; "" where nothing differs. */
function beside(moment, utc) {
  if (!offset(moment)) return "";
  const here = local(moment);
  const end = /:\d\d:\d\d$/.test(utc) ? 19 : 16;
  const sameDay = here.slice(0, 10) === moment.toISOString().slice(0, 10);
  return sameDay ? here.slice(11, end) : `${here.slice(5, 10)} ${here.slice(11, end)}`;
}

/** Name the zone: "Europe/Berlin, UTC+01:00". */
function zone() {
  const minutes = offset(new Date());
  const clock = `${pad(Math.floor(Math.abs(minutes) / 60))}:${pad(Math.abs(minutes) % 60)}`;
  return `${Intl.DateTimeFormat().resolvedOptions().timeZone}, UTC${minutes < 0 ? "−" : "+"}${clock}`;
}

for (const time of document.querySelectorAll("time[datetime*='T']")) {
  const text = beside(new Date(time.dateTime), time.textContent.trim());
  if (!text) continue;
  const here = document.createElement("span");
  here.className = "local";
  here.textContent = text;
  time.append(" ", here);
}
for (const title of document.querySelectorAll("svg [data-from]")) {
  const text = beside(new Date(title.dataset.from), "");
  if (text) title.textContent += ` (${text} here)`;
}
const line = document.getElementById("zone");
if (line && document.querySelector(".local")) {
  line.textContent = `Beside them, lighter: this browser's times (${zone()}).`;
}
