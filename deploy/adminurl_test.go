package deploy

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

func TestTheAddressForOperatorsIsThatOfTheServersSettings(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "doorman.yaml")
	require.NoError(t, os.WriteFile(file, []byte("admin_listen: 10.0.0.5:9000\nlanes: many\n"), 0o600))
	for _, tt := range []struct{ listen, file, want, source string }{
		{"", "", "http://127.0.0.1:8081", "default"},
		{"127.0.0.1:9081", "", "http://127.0.0.1:9081", "environment DOORMAN_ADMIN_LISTEN"},
		{":9081", "", "http://127.0.0.1:9081", "environment DOORMAN_ADMIN_LISTEN"},
		{"0.0.0.0:9081", "", "http://127.0.0.1:9081", "environment DOORMAN_ADMIN_LISTEN"},
		{"[::]:9081", "", "http://127.0.0.1:9081", "environment DOORMAN_ADMIN_LISTEN"},
		{"[::1]:9081", "", "http://[::1]:9081", "environment DOORMAN_ADMIN_LISTEN"},
		{"gateway:9081", "", "http://gateway:9081", "environment DOORMAN_ADMIN_LISTEN"},
		{"", file, "http://10.0.0.5:9000", "file " + file},
		{"gateway:9081", file, "http://gateway:9081", "environment DOORMAN_ADMIN_LISTEN"},
	} {
		// Other settings may be wrong, as a secret in a file that operators cannot read.
		environ := []string{"DOORMAN_ADMIN_LISTEN=" + tt.listen, "DOORMAN_POSTGRES_URL_FILE=/nowhere/secret"}
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		AddConfigFlag(flags)
		if tt.file != "" {
			require.NoError(t, flags.Parse([]string{"--config", tt.file}))
		}
		url, source, err := AdminURL(flags, environ)
		require.NoError(t, err)
		require.Equal(t, []string{tt.want, tt.source}, []string{url, source})
		url, _, err = AdminURL(nil, append(environ, "DOORMAN_CONFIG="+tt.file))
		require.NoError(t, err)
		require.Equal(t, tt.want, url)
	}
}

func TestAnAddressForOperatorsThatCannotBeKnownIsTold(t *testing.T) {
	t.Parallel()
	for variable, want := range map[string]string{
		"DOORMAN_ADMIN_LISTEN=9081":         `admin_listen (environment DOORMAN_ADMIN_LISTEN): "9081" is not an address such as 127.0.0.1:8080`,
		"DOORMAN_ADMIN_LISTEN=127.0.0.1:0":  "admin_listen (environment DOORMAN_ADMIN_LISTEN): at 127.0.0.1:0 the system chooses the port",
		"DOORMAN_ADMIN_LISTN=127.0.0.1:9":   "there is no such setting; did you mean DOORMAN_ADMIN_LISTEN?",
		"DOORMAN_CONFIG=/nowhere/file.yaml": "/nowhere/file.yaml: no such file or directory",
	} {
		_, _, err := AdminURL(nil, []string{variable})
		require.ErrorIs(t, err, ErrConfig)
		require.ErrorContains(t, err, want)
	}
}
