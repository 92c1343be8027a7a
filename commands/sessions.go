package commands

import "regexp"

// sessionMember is a session in the text of a command.
var sessionMember = regexp.MustCompile(`("session"\s*:\s*)("(?:[^"\\]|\\.)*"?|[^\s,}\]]+)`)

// WithoutSessions is the text of commands, readable or not as a whole, with what stands for sessions left out: a
// session is its client's secret. What has none stays as it is.
func WithoutSessions(text []byte) []byte {
	return sessionMember.ReplaceAll(text, []byte(`$1"…"`))
}
