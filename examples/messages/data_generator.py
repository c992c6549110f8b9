"""Random messages between users, as JSON-ready dicts."""

import random
import string

USER_IDS = list(range(1, 101))
RECIPIENT_IDS = list(range(1, 101))


def generate_message() -> dict[str, object]:
    """One message from a random user to another."""
    user_id = random.choice(USER_IDS)
    recipient_id = random.choice([candidate for candidate in RECIPIENT_IDS if candidate != user_id])
    text = "".join(random.choice(string.ascii_letters) for _ in range(32))
    return {"user_id": user_id, "recipient_id": recipient_id, "message": text}
