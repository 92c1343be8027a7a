package client_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
	"github.com/ticketed/doorman/commands/problem"
)

// streams is one page of the catalog.
func streams(after string, versions ...uint64) step {
	page := commands.StreamsView{After: after}
	for _, version := range versions {
		item := streamView(version)
		item.State = nil
		page.Items = append(page.Items, item)
	}
	return ok(string(page.AppendTo(nil)))
}

func TestAllStreamsGoesThroughThePages(t *testing.T) {
	t.Parallel()
	c, s := scripted(t, streams("e1-8", 9, 8), streams("e1-6", 7, 6), streams("", 5))
	var versions []uint64
	for stream, err := range c.AllStreams(t.Context(), "order") {
		require.NoError(t, err)
		versions = append(versions, stream.Version)
	}
	require.Equal(t, []uint64{9, 8, 7, 6, 5}, versions)
	require.Equal(t, "/v1/streams?limit=1000&type=order", s.seen[0].uri)
	require.Equal(t, "/v1/streams?after=e1-6&limit=1000&type=order", s.seen[2].uri)

	c, s = scripted(t, streams("e1-8", 9, 8))
	for range c.AllStreams(t.Context(), "") { // who has enough asks for no more
		break
	}
	require.Equal(t, "/v1/streams?limit=1000", s.seen[0].uri, "of all types")

	c, _ = scripted(t, streams("e1-8", 9, 8), refuse(problem.New(commands.Internal, "")))
	var last error
	for _, last = range c.AllStreams(t.Context(), "order") {
	}
	var refused *client.RefusedError
	require.ErrorAs(t, last, &refused)
}
