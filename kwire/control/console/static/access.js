// Users and ACLs.

import { get } from "./api.js";
import { h, table } from "./dom.js";

export const title = "Access";

export async function mount(main, page) {
  const note = h("p");
  const users = table({
    caption: "Users with SCRAM credentials, and the iterations of each mechanism",
    key: (row) => row.user,
    empty: "There are no users with SCRAM credentials.",
    columns: [
      { title: "User", value: (row) => row.user },
      { title: "Mechanisms", value: (row) => Object.entries(row.mechanisms).map(([name, iterations]) => `${name} (${iterations})`).join(", ") },
    ],
  });
  const acls = table({
    caption: "ACLs",
    key: (row) => Object.values(row).join("\n"),
    empty: "There are no ACLs.",
    columns: [
      { title: "Principal", value: (row) => row.principal },
      { title: "Permission", value: (row) => row.permission },
      { title: "Operation", value: (row) => row.operation },
      { title: "Resource", value: (row) => row.resource_type },
      { title: "Name", value: (row) => row.resource_name },
      { title: "Pattern", value: (row) => row.pattern },
      { title: "Host", value: (row) => row.host },
      { title: "As a rule", value: (row) => row.rule },
    ],
  });
  main.append(note, h("h2", {}, "Users"), users.element, h("h2", {}, "ACLs"), acls.element);
  await page.every(5000, async () => {
    const [broker, foundUsers, foundAcls] = await Promise.all(["broker", "users", "acls"].map((name) => get(`/v1/${name}`, page.signal)));
    note.textContent = broker.authorizer ? "" : "This broker has no authorizer (authorizer.class.name): it allows everything.";
    users.update(foundUsers);
    acls.update(foundAcls);
  });
}
