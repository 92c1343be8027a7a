package relay

// Kept is how many outcomes wait in memory.
func (r *Relay) Kept() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for i := range r.backlog.kept {
		n += len(r.backlog.kept[i].outcomes)
	}
	return n
}
