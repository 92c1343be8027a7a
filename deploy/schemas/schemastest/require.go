package schemastest

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// RequireGolden holds a document against the one that is committed, so that a change of the interface is seen as one;
// or it writes that one anew.
func RequireGolden(t *testing.T, file string, made []byte, write bool) {
	t.Helper()
	var text bytes.Buffer
	require.NoError(t, json.Indent(&text, made, "", "  "))
	text.WriteByte('\n')
	if write {
		require.NoError(t, os.WriteFile(file, text.Bytes(), 0o600))
		return
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, text.Bytes()), "the description differs from %s: make generate, and read the difference", file)
}

// RequireFound reads a sound document with one fault after another: by name, a text of the document, what stands there
// instead, and what is to be found of it.
func RequireFound(t *testing.T, text []byte, read func([]byte) error, faults map[string][3]string) {
	t.Helper()
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, string(text), fault[0])
			require.ErrorContains(t, read([]byte(strings.Replace(string(text), fault[0], fault[1], 1))), fault[2])
		})
	}
	require.Error(t, read([]byte("{")))
	require.Error(t, read([]byte("[]")))
}
