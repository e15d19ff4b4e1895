// The history: its filters show what they ask for as they are chosen.
document.addEventListener("change", (event) => {
  const form = event.target.closest("#filters");
  if (form) form.requestSubmit();
});
