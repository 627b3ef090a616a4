// The shop's own script. What a customer of Wakeline writes is the lines that call `wakeline`; page views need none.
// `?.`: the shop works without it, too, where a blocker or an outage keeps the script away.
const CURRENCY = "EUR";
const euros = (cents) => `${Math.floor(cents / 100)}.${String(cents % 100).padStart(2, "0")} €`;
const element = (id) => document.getElementById(id);

const readCart = () => {
  try {
    return JSON.parse(localStorage.getItem("alder-cart")) ?? [];
  } catch {
    return [];
  }
};
const writeCart = (items) => {
  localStorage.setItem("alder-cart", JSON.stringify(items));
  showCount();
};
const sum = (items) => items.reduce((total, item) => total + item.price * item.quantity, 0);
const showCount = () => {
  element("cart-count").textContent = String(readCart().reduce((count, item) => count + item.quantity, 0));
};
const asOrder = (id, items) => ({ id, currency: CURRENCY, value: sum(items), items });

showCount();

// Product page
const { sku, name, price } = document.body.dataset;
if (sku) {
  window.wakeline?.productView({ sku, name, price: Number(price), currency: CURRENCY });
  element("add").addEventListener("click", () => {
    const items = readCart();
    const known = items.find((item) => item.sku === sku);
    if (known) known.quantity += 1;
    else items.push({ sku, name, price: Number(price), quantity: 1 });
    writeCart(items);
    window.wakeline?.cart(asOrder("", items));
    element("added").textContent = `${name} is in your cart.`;
  });
}

// Cart
const lines = element("lines");
const showLines = () => {
  const items = readCart();
  lines.replaceChildren(
    ...items.map((item) => {
      const row = document.createElement("div");
      row.className = "row";
      const label = document.createElement("span");
      label.textContent = `${item.quantity} × ${item.name}`;
      const cost = document.createElement("span");
      cost.textContent = euros(item.price * item.quantity);
      const remove = document.createElement("button");
      remove.type = "button";
      remove.textContent = "Remove";
      remove.setAttribute("aria-label", `Remove ${item.name}`);
      remove.addEventListener("click", () => {
        writeCart(readCart().filter((other) => other.sku !== item.sku));
        window.wakeline?.track("remove_from_cart", { sku: item.sku, quantity: item.quantity });
        showLines();
      });
      row.append(label, cost, remove);
      return row;
    }),
  );
  if (items.length === 0) {
    const empty = document.createElement("p");
    empty.className = "quiet";
    empty.textContent = "There is nothing in it yet.";
    lines.append(empty);
  }
  element("to-checkout").setAttribute("aria-disabled", String(items.length === 0));
  element("total").textContent = euros(sum(items));
};
if (lines) showLines();

// Checkout
const form = element("checkout");
if (form) {
  const items = readCart();
  element("total").textContent = euros(sum(items));
  window.wakeline?.checkout(asOrder("", items));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const id = `A-${Date.now().toString(36).toUpperCase()}`;
    window.wakeline?.order(asOrder(id, items));
    window.wakeline?.track("delivery_chosen", { delivery: new FormData(form).get("delivery") });
    writeCart([]);
    location.assign(`/thank-you?order=${id}`);
  });
}

// Thank-you
const orderId = element("order-id");
if (orderId) orderId.textContent = new URLSearchParams(location.search).get("order") ?? "";
