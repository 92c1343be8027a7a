package cli

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/deploy"
)

func TestTheLanesOfAFileAreShownAndChanged(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	got := run(t, nil, "", "lanes", "--data-dir", folder)
	require.Equal(t, ExitError, got.code)
	require.Contains(t, got.err, "there is no store in ")
	require.Equal(t, ExitOK, run(t, nil, "", "migrate", "up", "--data-dir", folder).code)

	config := deploy.Defaults()
	config.DataDir, config.Listen, config.AdminListen, config.LogLevel = folder, "127.0.0.1:0", "127.0.0.1:0", "error"
	program, err := deploy.New(config, builtIn())
	require.NoError(t, err)
	require.NoError(t, program.Start(t.Context()))
	got = run(t, nil, "", "lanes", "--data-dir", folder)
	require.Equal(t, ExitOK, got.code, got.err)
	require.Contains(t, got.out, "16 lanes\n\nLANE  OWNER ")
	require.Regexp(t, `(?m)^15 +\S+ pid \d+ +1 +0s +0 +-$`, got.out)
	got = run(t, nil, "", "lanes", "set", "4", "--data-dir", folder)
	require.Equal(t, ExitError, got.code)
	require.Contains(t, got.err, "is in use by another doorman (process ")
	require.NoError(t, program.Stop())

	got = run(t, nil, "", "lanes", "set", "4", "--data-dir", folder)
	require.Equal(t, ExitOK, got.code, got.err)
	require.Equal(t, "There are 4 lanes now; there were 16.\n", got.err)
	got = run(t, nil, "", "lanes", "--json", "--data-dir", folder)
	require.Equal(t, ExitOK, got.code, got.err)
	var view deploy.LanesView
	require.NoError(t, json.Unmarshal([]byte(got.out), &view))
	require.Equal(t, 4, view.Lanes)
	require.Len(t, view.List, 4)
	require.Equal(t, deploy.LaneView{Lane: 3, Epoch: 2}, view.List[3])
	got = run(t, nil, "", "lanes", "abort", "--data-dir", folder)
	require.Equal(t, "The number of lanes is not being changed.\n", got.out)
}

func TestANumberOfLanesThatIsNoneIsWrongUsage(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		`"many" is not a number of lanes`:  {"many"},
		"accepts 1 arg(s), received 0":     {},
		"--timeout: 10ms is too short":     {"5", "--timeout", "10ms"},
		"unknown flag: --lanes":            {"5", "--lanes", "3"},
		`--timeout: "x" is not a duration`: {"5", "--timeout", "x"},
	} {
		got := run(t, nil, "", append([]string{"lanes", "set"}, args...)...)
		require.Equal(t, ExitUsage, got.code, got.err)
		require.Contains(t, got.err, want)
	}
	got := run(t, nil, "", "lanes", "set", "0", "--data-dir", t.TempDir())
	require.Equal(t, ExitError, got.code)
	require.Contains(t, got.err, "0 is not between 1 and 1024")
}
