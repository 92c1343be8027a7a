package commands_test

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
)

var canonical = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)

// Every text of the right length that differs from an id in two places, or in one, is taken when it is the canonical
// text of a UUID (RFC 9562 section 4), and by no other rule.
func TestAnIDIsItsCanonicalTextAndNothingElse(t *testing.T) {
	t.Parallel()
	const id = "01977b2e-5b0c-7d31-9d3c-6f1a2b3c4d5e"
	interesting := []byte{'-', '0', 'F', 'f', 'g', '/', ':', '@', 'G', '`', 0, 0x80, 0xff}
	check := func(text []byte) {
		_, ok := commands.ParseID(text)
		require.Equal(t, canonical.Match(text), ok, "%q", text)
	}
	for i := range len(id) {
		for b := range 256 {
			text := []byte(id)
			text[i] = byte(b)
			check(text)
		}
		for j := range i {
			for _, first := range interesting {
				for _, second := range interesting {
					text := []byte(id)
					text[i], text[j] = first, second
					check(text)
				}
			}
		}
	}
	for length := range len(id) + 8 {
		check([]byte((id + id)[:length]))
	}
	parsed, ok := commands.ParseID(id)
	require.True(t, ok)
	require.Equal(t, id, parsed.String())
}
