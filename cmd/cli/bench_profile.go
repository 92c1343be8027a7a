package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime/pprof"
	"time"
)

// profile has the processor's time of a run told in a folder, for so long: the server's in server.pprof, this process's in
// generator.pprof. It begins at once, before the run's connections are opened. The returned function waits until that is
// so. A run whose context ends before has no profile of the server.
func profile(ctx context.Context, folder, admin string, long time.Duration) (done func() error, err error) {
	if err := os.MkdirAll(folder, 0o755); err != nil { //nolint:gosec // nothing that others may not read
		return nil, err
	}
	own, err := os.Create(filepath.Join(folder, "generator.pprof"))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(own); err != nil {
		return nil, errors.Join(err, own.Close())
	}
	ended := make(chan error, 1)
	go func() {
		err := serverProfile(ctx, filepath.Join(folder, "server.pprof"), admin, long)
		if ctx.Err() != nil {
			err = nil
		}
		pprof.StopCPUProfile()
		ended <- errors.Join(err, own.Close())
	}()
	return func() error {
		if err := <-ended; err != nil {
			return fmt.Errorf("profiles: %w", err)
		}
		return nil
	}, nil
}

func serverProfile(ctx context.Context, name, admin string, long time.Duration) error {
	address := fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", admin, max(1, int(long.Seconds())))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: status %d", address, answer.StatusCode)
	}
	file, err := os.Create(name) //nolint:gosec // whose command it is says where
	if err != nil {
		return err
	}
	_, err = io.Copy(file, answer.Body)
	return errors.Join(err, file.Close())
}
