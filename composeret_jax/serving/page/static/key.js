// A service that needs an API key gets it once, and then knows this browser by a cookie that scripts cannot read.

const dialog = document.getElementById("key");
const field = document.getElementById("key-field");
const label = document.getElementById("key-label");

export function askForKey() {
  if (!dialog.open) dialog.showModal();
}

dialog.addEventListener("cancel", (event) => event.preventDefault());
dialog.addEventListener("submit", async (event) => {
  event.preventDefault();
  const reply = await fetch("v1/session", {method: "POST", headers: {"X-API-Key": field.value.trim()}}).catch(
    () => null,
  );
  if (reply?.ok) location.reload();
  else
    label.textContent =
      reply?.status === 401 ? "This key is not known. Try another one" : "The search cannot be reached. Try again";
});
