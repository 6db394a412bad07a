// Show new comments as they are written, without a reload.
const list = document.getElementById("comments");
new EventSource(list.dataset.news).onmessage = (event) => {
  const { id, author, text } = JSON.parse(event.data);
  if (document.getElementById(`comment-${id}`)) return;
  const name = document.createElement("b"), said = document.createElement("span"), item = document.createElement("li");
  name.textContent = author;
  said.textContent = text;
  said.className = "text";
  item.id = `comment-${id}`;
  item.append(name, " ", said);
  list.append(item);
};
