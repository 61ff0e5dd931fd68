package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// keptRuns is how many logs of runs are kept per stack.
const keptRuns = 20

// runLog is the folder of one run: events.jsonl has the typed events, engine.log what pulumi printed.
type runLog struct {
	dir    string
	events *os.File
	engine *os.File
	json   *json.Encoder
	err    error // of the first write that failed
}

// newRunLog makes the folder of a run, named so that names sort by time, and removes the oldest ones.
func newRunLog(runs, op string, now time.Time) (*runLog, error) {
	if err := os.MkdirAll(runs, 0o700); err != nil {
		return nil, fmt.Errorf("create run log: %w", err)
	}
	l := &runLog{dir: filepath.Join(runs, now.UTC().Format("20060102T150405.000000Z")+"-"+op)}
	err := os.Mkdir(l.dir, 0o700)
	if err == nil {
		l.events, err = os.OpenFile(filepath.Join(l.dir, "events.jsonl"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	}
	if err == nil {
		l.engine, err = os.OpenFile(filepath.Join(l.dir, "engine.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("create run log: %w", err)
	}
	l.json = json.NewEncoder(l.events)
	return l, prune(runs)
}

func prune(runs string) error {
	entries, err := os.ReadDir(runs)
	if err != nil {
		return fmt.Errorf("remove old run logs: %w", err)
	}
	slices.Reverse(entries) // newest first
	for _, old := range entries[min(len(entries), keptRuns):] {
		if err := os.RemoveAll(filepath.Join(runs, old.Name())); err != nil {
			return fmt.Errorf("remove old run logs: %w", err)
		}
	}
	return nil
}

func (l *runLog) write(e Event) {
	if err := l.json.Encode(e); err != nil && l.err == nil {
		l.err = err
	}
}

func (l *runLog) close() error {
	if err := errors.Join(l.err, l.events.Close(), l.engine.Close()); err != nil {
		return fmt.Errorf("write run log: %w", err)
	}
	return nil
}
