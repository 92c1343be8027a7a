package load

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// Cost is what a process used while commands were sent.
type Cost struct {
	CPUSeconds       float64 `json:"cpu_seconds"`
	MicrosPerCommand float64 `json:"cpu_us_per_command"`
	RSSBytes         int64   `json:"rss_bytes,omitempty"`      // at the end
	PeakBytes        int64   `json:"rss_peak_bytes,omitempty"` // of the process's life
}

// usage is the CPU time that a process, or the machine, has used so far. Linux counts it in hundredths of
// a second.
type usage struct {
	at                         time.Time
	generator, server, machine time.Duration
}

const tick = 10 * time.Millisecond

// sample reads the usage; what cannot be read stays 0.
func sample(pid int) usage {
	u := usage{at: time.Now(), generator: processCPU("self"), machine: machineCPU()}
	if pid > 0 {
		u.server = processCPU(strconv.Itoa(pid))
	}
	return u
}

func processCPU(pid string) time.Duration {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0
	}
	// The second field is a name in brackets that may hold anything; utime and stime are the 14th and 15th.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 13 {
		return 0
	}
	return ticks(fields[11]) + ticks(fields[12])
}

// absent tells that there is no such process, where that can be told.
func absent(pid int) bool {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		return false
	}
	_, err := os.Stat("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil
}

// machineCPU is the time in which the processors were not idle.
func machineCPU() time.Duration {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	fields := bytes.Fields(line) // cpu user nice system idle iowait irq softirq steal …
	var busy time.Duration
	for i, field := range fields[1:min(len(fields), 8)] {
		if i != 3 && i != 4 {
			busy += ticks(field)
		}
	}
	return busy
}

func ticks(field []byte) time.Duration {
	n, _ := strconv.ParseInt(string(field), 10, 64)
	return time.Duration(n) * tick
}

// memory reads a process's resident memory, now and at its highest, in bytes.
func memory(pid int) (now, peak int64) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0
	}
	for line := range bytes.Lines(text) {
		var kilobytes int64
		if n, _ := fmt.Sscanf(string(line), "VmRSS: %d kB", &kilobytes); n == 1 {
			now = kilobytes << 10
		}
		if n, _ := fmt.Sscanf(string(line), "VmHWM: %d kB", &kilobytes); n == 1 {
			peak = kilobytes << 10
		}
	}
	return now, peak
}

func cost(used time.Duration, posted int) *Cost {
	if used <= 0 || posted == 0 {
		return nil
	}
	return &Cost{CPUSeconds: used.Seconds(), MicrosPerCommand: float64(used.Microseconds()) / float64(posted)}
}
