package controller

import (
	"encoding/json"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"devctl/internal/api"
	"devctl/internal/discovery"
)

// TestMatters: a heartbeat that says nothing new does not wake the leader; everything else does.
func TestMatters(t *testing.T) {
	t.Parallel()
	beats := map[string]string{}
	record := api.NodeRecord{Identity: testNode(api.RoleData, 1, 100), LastHeartbeat: noon, FreeMemory: 1 << 30,
		Redis: []api.RedisInstance{{Shard: 1, Role: "primary", Offset: 7}}}
	event := func(kind mvccpb.Event_EventType, key string, value any) *clientv3.Event {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		return &clientv3.Event{Type: kind, Kv: &mvccpb.KeyValue{Key: []byte(key), Value: text}}
	}
	key := discovery.NodeKey("data-1")
	steps := []struct {
		name  string
		event func() *clientv3.Event
		want  bool
	}{
		{"first", func() *clientv3.Event { return event(mvccpb.PUT, key, record) }, true},
		{"same", func() *clientv3.Event { return event(mvccpb.PUT, key, record) }, false},
		{"later", func() *clientv3.Event {
			record.LastHeartbeat, record.FreeMemory = noon.Add(time.Second), 1<<29
			record.Redis = []api.RedisInstance{{Shard: 1, Role: "primary", Offset: 8}}
			return event(mvccpb.PUT, key, record)
		}, false},
		{"failover", func() *clientv3.Event {
			record.Redis = []api.RedisInstance{{Shard: 1, Role: "replica", Offset: 8}}
			return event(mvccpb.PUT, key, record)
		}, true},
		{"gone", func() *clientv3.Event { return event(mvccpb.DELETE, key, nil) }, true},
		{"back", func() *clientv3.Event { return event(mvccpb.PUT, key, record) }, true},
		{"a unit", func() *clientv3.Event {
			return event(mvccpb.PUT, discovery.ObservedKey("data-1", "redis-1.service"), api.UnitStatus{Name: "redis-1.service"})
		}, true},
		{"no record", func() *clientv3.Event { return event(mvccpb.PUT, key, "nonsense") }, true},
	}
	for _, s := range steps {
		if got := matters(beats, s.event()); got != s.want {
			t.Errorf("%s: got %v, want %v", s.name, got, s.want)
		}
	}
}
