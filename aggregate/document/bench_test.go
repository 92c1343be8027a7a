package document_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/document"
	"github.com/ticketed/doorman/commands"
)

const report = `{"title":"Quarterly report","author":{"name":"Ann","mail":"ann@example.org"},` +
	`"tags":["a","b"],"body":"Lorem ipsum dolor sit amet","rev":17}`

// What the engine does for one small patch: judge it, and apply the event that was stored.
func BenchmarkPatch(b *testing.B) {
	typ := document.Type()
	created, err := typ.Decide(typ.Initial(), "create", []byte(report))
	require.NoError(b, err)
	state, err := typ.Evolve(typ.Initial(), created[0])
	require.NoError(b, err)
	patch := []byte(`{"rev":18,"author":{"mail":"a@example.org"}}`)
	b.Run("decide", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = typ.Decide(state, "patch", patch)
		}
	})
	patched, err := typ.Decide(state, "patch", patch)
	require.NoError(b, err)
	require.Equal(b, []commands.Event{{Type: "patched", Schema: 1, Data: patch}}, patched)
	b.Run("evolve", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = typ.Evolve(state, patched[0])
		}
	})
}
