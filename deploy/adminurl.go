package deploy

import (
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/spf13/pflag"
)

const adminListenKey = "admin_listen"

// AdminURL is where a server with these settings answers operators, as seen from its own machine, and where that is
// said: "default", "environment DOORMAN_ADMIN_LISTEN", "file doorman.yaml". Flags and environment are those of [Load].
//
// The error is a [ConfigError]. What is wrong with other settings is no reason not to know the address: an operator need
// not be able to read the server's secrets.
func AdminURL(flags *pflag.FlagSet, environ []string) (url, source string, err error) {
	config, err := Load(flags, environ)
	if wrong, ok := errors.AsType[*ConfigError](err); ok {
		err = configError(slices.DeleteFunc(wrong.Problems, func(p Problem) bool {
			_, known := findSetting(p.Key)
			return known && p.Key != adminListenKey
		}))
	}
	if err != nil {
		return "", "", err
	}
	source = config.source(adminListenKey)
	host, port, err := net.SplitHostPort(config.AdminListen)
	if err != nil {
		return "", "", err // Load has found it good
	}
	if port == "0" {
		return "", "", configError([]Problem{{adminListenKey, source, fmt.Sprintf("at %s the system chooses the port, "+
			"so that only the server knows its address", config.AdminListen)}})
	}
	return localURL(host, port), source, nil
}
