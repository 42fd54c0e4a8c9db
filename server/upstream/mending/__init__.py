"""Chat completions as they should have been sent: what servers of open models say in ways of their
own, whole and streamed, in the form of OpenAI's reference."""
