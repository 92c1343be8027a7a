package load_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/cmd/cli"
	"github.com/ticketed/doorman/cmd/cli/load"
)

func bench(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	streams := cli.Streams{In: strings.NewReader(""), Out: &out, Err: &errs}
	code = cli.Run(t.Context(), streams, append([]string{"bench"}, args...))
	return code, out.String(), errs.String()
}

func TestBenchTellsWhatItMeasuredAndHow(t *testing.T) {
	t.Parallel()
	code, out, errs := bench(t, "--url", load.StartHonest(t), "--count", "1000", "--streams", "20",
		"--wait-share", "10%", "--stale", "5%")
	require.Equal(t, cli.ExitOK, code, errs)
	require.Empty(t, errs, "nobody is watching, so no progress")
	for _, words := range []string{
		"of 1,000 commands", "POST→202", "POST→landed", "posted with Prefer: wait", "counted from sending",
		"stale_ticket", "refused        none", "1,000 commands and the heads of", "exactly one outcome",
	} {
		require.Contains(t, out, words)
	}
}

func TestBenchReportsAsJSON(t *testing.T) {
	t.Parallel()
	code, out, errs := bench(t, "--url", load.StartHonest(t), "--count", "500", "--rate", "20000", "-o", "json", "--wait-share", "0")
	require.Equal(t, cli.ExitOK, code, errs)
	var report load.Report
	require.NoError(t, json.Unmarshal([]byte(out), &report))
	require.Equal(t, 500, report.Landed)
	require.EqualValues(t, 500, report.PostToAccepted.Count)
	require.Zero(t, report.PostToLanded.Count)
	require.NotNil(t, report.Failures)
}

func TestBenchFailsWhenAnOutcomeIsMissing(t *testing.T) {
	t.Parallel()
	code, out, errs := bench(t, "--url", load.StartLying(t), "--count", "1000", "--settle", "2s", "--wait-share", "0")
	require.Equal(t, cli.ExitError, code)
	require.Contains(t, out, "WRONG          1 commands that were accepted and have no outcome")
	require.Contains(t, errs, "did not keep its word")
}

func TestBenchTellsWrongUse(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"--out-of-order", "60%"},
		{"--stale", "lots"},
		{"--array", "300"},
		{"-o", "xml"},
		{"--serve", "oracle"},
		{"--serve", "postgres"},
		{"--serve", "sqlite", "--url", "http://127.0.0.1:1"},
		{"--url", "unix:///x"},
		{"--profile", "x"},
		{"--profile", "x", "--serve", "sqlite", "--count", "1"},
	} {
		code, _, errs := bench(t, args...)
		require.Equal(t, cli.ExitUsage, code, "%v: %s", args, errs)
	}
}
