package commands_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
)

func TestSessionsAreLeftOutOfWhatIsShown(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"id":"1","session":"secret","data":{}}`:   `{"id":"1","session":"…","data":{}}`,
		`{"session" : "se\"cret" }`:                 `{"session" : "…" }`,
		`[{"session":"secret"},{"session":"other"}`: `[{"session":"…"},{"session":"…"}`,
		`{"session":"secr`:                          `{"session":"…"`,
		`{"session":17}`:                            `{"session":"…"}`,
		`{"id":"1","data":"sessions"}`:              `{"id":"1","data":"sessions"}`,
		``:                                          ``,
	} {
		require.Equal(t, want, string(commands.WithoutSessions([]byte(text))))
	}
}
