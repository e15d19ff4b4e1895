// A list or field with `data-sends` sends its form when something else is chosen in it.
document.addEventListener("change", (event) => {
  const field = event.target.closest("[data-sends]");
  if (!field) return;
  const { form } = field;
  // Of two lists, the second is still to be chosen.
  const halves = ["a", "b"].map((name) => form.elements[name]).filter(Boolean);
  if (halves.length === 2 && halves.some((half) => half.value === "")) return;
  form.requestSubmit();
});
