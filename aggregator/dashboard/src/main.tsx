import "./styles/base.css"; document.title = "Wakeline";
