package commands_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
)

func TestSessionsAreLeftOutOfWhatIsShown(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"id":"1","session":"secret","data":{}}`:             `{"id":"1","session":"…","data":{}}`,
		`{"session" : "se\"cret" }`:                           `{"session" : "…" }`,
		`[{"session":"secret"},{"session":"other"}`:           `[{"session":"…"},{"session":"…"}`,
		`{"session":"secr`:                                    `{"session":"…"`,
		`{"session":17}`:                                      `{"session":"…"}`,
		`{"id":"1","data":"sessions"}`:                        `{"id":"1","data":"sessions"}`,
		`{"\u0073e\u0053\u0073\u0069\u006F\u004en":"secret"}`: `{"\u0073e\u0053\u0073\u0069\u006F\u004en":"secret"}`,
		`{"\u0073e\u0053\u0073\u0069\u006F\u004e":"secret"}`:  `{"\u0073e\u0053\u0073\u0069\u006F\u004e":"…"}`,
		`{"Session":"secret"}`:                                `{"Session":"…"}`,
		``:                                                    ``,
	} {
		require.Equal(t, want, string(commands.WithoutSessions([]byte(text))))
	}
}
