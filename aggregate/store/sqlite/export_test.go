package sqlite

// SettlingEvery is the configuration with sweeps this many positions apart, so that few commits see many.
func (c Config) SettlingEvery(positions uint64) Config {
	c.settleEvery = positions
	return c
}

// Dir is where the store is.
func (s *Store) Dir() string { return s.config.Dir }
