package cli

import (
	"encoding/json"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/cmd/cli/load"
	"github.com/ticketed/doorman/deploy"
)

// Everything that can be watched at once, against the program itself.
func TestBenchMeasuresThoseWhoWatch(t *testing.T) {
	t.Parallel()
	config := deploy.Defaults()
	config.Listen, config.AdminListen, config.DataDir = "127.0.0.1:0", "127.0.0.1:0", t.TempDir()
	config.Log = slog.New(slog.DiscardHandler)
	program, err := deploy.New(config, builtIn())
	require.NoError(t, err)
	require.NoError(t, program.Start(t.Context()))
	defer func() { require.NoError(t, program.Stop()) }()
	for _, deliver := range []string{"events", "state", "ticket"} {
		got := run(t, nil, "", "bench", "--url", program.URL(), "--admin-url", program.AdminURL(), "--count", "3000", "--rate", "3000",
			"--streams", "60", "--watchers", "20", "--watch-deliver", deliver, "--out-of-order", "30%", "--watch-parked", "100%",
			"--fan", "10", "--idle", "30", "--storm", "10,1000", "-o", "json")
		require.Equal(t, ExitOK, got.code, got.out+got.err)
		var report load.Report
		require.NoError(t, json.Unmarshal([]byte(got.out), &report))
		require.Empty(t, report.Failures)
		w := report.Watch
		require.Equal(t, 60, w.Watched)
		require.EqualValues(t, report.Landed, w.PostToTold.Count+w.Fan.PostToLast.Count, "each landing was told")
		require.Positive(t, w.PostToTold.P50)
		require.Positive(t, w.Fan.PostToLast.Count)
		require.EqualValues(t, report.Early, w.Parked.Count)
		require.Positive(t, w.Storm.Seconds)
		require.Empty(t, w.Idle.Unknown)
		require.Positive(t, w.Idle.After.Resident)
		require.Positive(t, w.Idle.End.Heap)
	}
}

func TestBenchTellsOfWatchersInWords(t *testing.T) {
	t.Parallel()
	url := server(t)
	got := run(t, nil, "", "bench", "--url", url, "--count", "300", "--streams", "3", "--connections", "3", "--watchers", "2", "--idle", "1",
		"--admin-url", "http://127.0.0.1:1")
	require.Equal(t, ExitOK, got.code, got.out+got.err)
	require.Contains(t, got.out, "POST→SSE")
	require.Contains(t, got.out, "2 watchers of 2 streams each, 3 streams in all, deliver=state")
	require.Contains(t, got.out, "1 connections, of unknown cost:")

	got = run(t, nil, "", "bench", "--url", url, "--count", "300", "--storm", "2,1000")
	require.Equal(t, ExitError, got.code)
	require.Contains(t, got.out, "the storm did not begin: 300 commands were accepted, of the 1000")
	for _, args := range [][]string{{"--storm", "5"}, {"--storm", "0,1"}, {"--watch-deliver", "all"}, {"--watch-streams", "300"}, {"--watchers", "-1"}} {
		require.Equal(t, ExitUsage, run(t, nil, "", append([]string{"bench"}, args...)...).code, args)
	}
}
