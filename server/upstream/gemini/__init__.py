"""Google's Gemini API (generateContent), as a provider."""
