"""What users wrote, cut out of LiteLLM's texts: its exceptions and slow calls carry the first of each prompt."""

import re

PROMPT = re.compile(
    r"Messages:|Received Messages|input_value="
    r"|[\[{(]{0,4}[^\S\n]{0,4}['\"](?:role|messages|prompt|input|content)\\?['\"]\s{0,4}:",
    re.IGNORECASE,
)
OURS = re.compile(
    r"\**(?:Model|API Base|model_group|deployment|Key Name|Key Alias|Team|Team Alias|Request Model|Proxy URL"
    r"|🪢 Langfuse Trace|vertex_project|vertex_location):\**[ \t]*(?:`[^`\n]{1,300}`|[^`\s]{1,300})[ \t]*"
)
SECRET = re.compile(r"\bsk-[\w-]{4,}|(?<=\bBearer )[\w.~+/-]{8,}=*|(?<=[?&]key=)[^\s&`'\"]+", re.IGNORECASE)
CUT = "(what the user wrote is not kept)"


def without_prompts(text: str) -> str:
    """The text up to where a prompt begins, and of what follows only the lines that LiteLLM itself writes there.

    A prompt may be any text, so that where it ends can't be known. Keys are cut out, too.
    """
    begins = PROMPT.search(text)
    if begins is None:
        return SECRET.sub("(a key)", text)
    before, after = text[: begins.start()].rstrip(), text[begins.end() :]
    kept = [line for line in after.split("\n")[1:] if OURS.fullmatch(line)]
    return SECRET.sub("(a key)", "\n".join([before, CUT, *kept]))
