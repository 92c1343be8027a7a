package admin

import "regexp"

// sessionMember is a session in the text of a command, readable or not as a whole. A session is its client's secret.
var sessionMember = regexp.MustCompile(`("session"\s*:\s*)("(?:[^"\\]|\\.)*"?|[^\s,}\]]+)`)

// withoutSessions is the text with what stands for sessions left out. What has no session stays as it is.
func withoutSessions(text []byte) []byte {
	return sessionMember.ReplaceAll(text, []byte(`$1"…"`))
}
