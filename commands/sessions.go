package commands

import "regexp"

// sessionMember is a session in the text of a command. The name may be written with escapes, and in a case for which
// the command is refused.
var sessionMember = regexp.MustCompile(
	`(?i)("(?:s|\\u00[57]3)(?:e|\\u00[46]5)(?:s|\\u00[57]3){2}(?:i|\\u00[46]9)(?:o|\\u00[46]f)(?:n|\\u00[46]e)"\s*:\s*)` +
		`("(?:[^"\\]|\\.)*"?|[^\s,}\]]+)`)

// WithoutSessions is the text of commands, readable or not as a whole, with what stands for sessions left out: a
// session is its client's secret. What has none stays as it is.
func WithoutSessions(text []byte) []byte {
	return sessionMember.ReplaceAll(text, []byte(`$1"…"`))
}
