//go:build !linux

package load

import "net/url"

func newWire(cfg *Config, base *url.URL) (wire, error) { return newNetWire(base, cfg.Connections), nil }
