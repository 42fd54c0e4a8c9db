"""The upstream for Google's Gemini API (generateContent)."""
