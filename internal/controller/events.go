package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"devctl/internal/api"
	"devctl/internal/discovery"
)

const (
	eventsKept = 500
	eventBatch = 100 // events in one transaction
)

// eventKey sorts as the sequence numbers do.
func eventKey(seq int64) string { return fmt.Sprintf("%s%016d", discovery.EventsPrefix, seq) }

// tell writes what is new for people: what was just done, and what has changed since the last time.
func (l *leader) tell(ctx context.Context, s state, st api.Status, done []api.Event) error {
	now := time.Now()
	seen, after := narrate(s, st, l.beats, now)
	for _, r := range s.nodes {
		l.beats[r.Name] = r.LastHeartbeat
	}
	events := append(done, seen...)
	if len(events) == 0 && reflect.DeepEqual(after.normal(), s.told.normal()) {
		return nil
	}
	for {
		some := events[:min(len(events), eventBatch)]
		events = events[len(some):]
		var writes []clientv3.Op
		for _, e := range some {
			after.Seq++
			e.Seq, e.Time = after.Seq, now
			text, err := json.Marshal(e)
			if err != nil {
				return fmt.Errorf("encode event: %w", err)
			}
			writes = append(writes, clientv3.OpPut(eventKey(e.Seq), string(text)))
		}
		// Until the last batch only the number is stored: what a crash leaves untold is told again.
		stored := after
		if len(events) > 0 {
			stored = s.told
			stored.Seq = after.Seq
		}
		text, err := json.Marshal(stored)
		if err != nil {
			return fmt.Errorf("encode what was told: %w", err)
		}
		writes = append(writes, clientv3.OpPut(discovery.ToldKey, string(text)))
		if last := after.Seq - eventsKept; last > 0 && len(some) > 0 {
			writes = append(writes, clientv3.OpDelete(eventKey(0), clientv3.WithRange(eventKey(last+1))))
		}
		if err := l.write(ctx, writes...); err != nil {
			return fmt.Errorf("write events: %w", err)
		}
		if len(events) == 0 {
			return nil
		}
	}
}

// normal is t as it is after it was stored and read again.
func (t told) normal() told {
	if len(t.Nodes) == 0 {
		t.Nodes = nil
	}
	if len(t.Units) == 0 {
		t.Units = nil
	}
	if len(t.Balancer) == 0 {
		t.Balancer = nil
	}
	return t
}

// writeTimeout bounds writing one line to a client of a stream.
const writeTimeout = 10 * time.Second

// getEvents streams events as lines of JSON: those after ?after=N, then new ones as they come. A line without text
// says that the server is there.
func (c *controller) getEvents(w http.ResponseWriter, r *http.Request) error {
	after := int64(0)
	if text := r.URL.Query().Get("after"); text != "" {
		var err error
		if after, err = strconv.ParseInt(text, 10, 64); err != nil || after < 0 {
			return &api.Error{Status: http.StatusBadRequest, Message: fmt.Sprintf("after=%q is no sequence number", text),
				Hint: "Give the seq of the last event that you have, or 0."}
		}
	}
	// Without a leader the watch must end, so that the client goes on to another main node.
	ctx := clientv3.WithRequireLeader(r.Context())
	end := clientv3.GetPrefixRangeEnd(discovery.EventsPrefix)
	listCtx, cancel := context.WithTimeout(ctx, etcdTimeout)
	list, err := c.etcd.Get(listCtx, eventKey(after+1), clientv3.WithRange(end))
	cancel()
	if err != nil {
		return c.unavailable(ctx, err)
	}
	news := c.etcd.Watch(ctx, eventKey(after+1), clientv3.WithRange(end), clientv3.WithRev(list.Header.Revision+1))

	stream := &lineWriter{w: w, control: http.NewResponseController(w)}
	w.Header().Set("Content-Type", "application/jsonl")
	for _, kv := range list.Kvs {
		stream.line(kv)
	}
	stream.line(nil)
	beat := time.NewTicker(api.EventHeartbeat)
	defer beat.Stop()
	for stream.err == nil {
		select {
		case <-ctx.Done():
			return nil
		case <-beat.C:
			stream.line(nil)
		case resp, ok := <-news:
			if !ok || resp.Err() != nil {
				return nil // the client comes back, here or elsewhere, with the last number it has
			}
			for _, e := range resp.Events {
				if e.Type == mvccpb.PUT {
					stream.line(e.Kv)
				}
			}
		}
	}
	return nil // the client is gone: there is nobody to tell
}

// lineWriter writes lines at once, until one fails.
type lineWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	err     error
}

// line writes an event as it is stored, or an empty line.
func (l *lineWriter) line(kv *mvccpb.KeyValue) {
	if l.err != nil {
		return
	}
	text := []byte("\n")
	if kv != nil {
		text = append(kv.Value[:len(kv.Value):len(kv.Value)], '\n')
	}
	if l.err = l.control.SetWriteDeadline(time.Now().Add(writeTimeout)); l.err != nil {
		return
	}
	if _, l.err = l.w.Write(text); l.err == nil {
		l.err = l.control.Flush()
	}
}
