"""A page's identity: the same for the same page, never the same for two."""

from hypothesis import assume, example, given
from hypothesis import strategies as st

from app.domain.notification import delivery_key
from app.domain.vocabulary import ChannelName

PAGES = st.tuples(
    st.sampled_from(["in-1", "in-11"]),
    st.integers(0, 20),
    st.integers(0, 20),
    st.text("/:a1", max_size=6).map("external:".__add__) | st.sampled_from(["user:alice", "user:bob"]),
    st.sampled_from([*ChannelName]),
)


@given(PAGES, PAGES)
@example(
    ("in-1", 1, 1, "external:/email", ChannelName.WEBHOOK), ("in-1", 1, 1, "external:", ChannelName.EMAIL)
)  # fmt: skip
@example(("in-1", 1, 11, "user:a", ChannelName.EMAIL), ("in-1", 11, 1, "user:a", ChannelName.EMAIL))
def test_two_pages_never_have_the_same_key(
    one: tuple[str, int, int, str, ChannelName], other: tuple[str, int, int, str, ChannelName]
) -> None:
    assume(one != other)
    assert delivery_key(*one) != delivery_key(*other)


def test_a_key_is_the_same_in_every_version() -> None:
    """It outlives releases: in running workflows, in PostgreSQL, and with whoever was sent it."""
    assert delivery_key("in-1", 2, 3, "user:alice", ChannelName.EMAIL) == "in-1/2/3/user:alice/email"
