// The page of images: another order is shown as soon as it is chosen.
document.body.classList.add("live");
for (const form of document.querySelectorAll("form.ordering")) {
  form.addEventListener("change", () => form.requestSubmit());
}
