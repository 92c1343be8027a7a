//go:build !linux

package load

import "net/url"

func newWire(_ *Config, base *url.URL, connections int) (wire, error) {
	return newNetWire(base, connections), nil
}
