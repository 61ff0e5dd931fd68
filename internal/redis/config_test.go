package redis

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	goredis "github.com/redis/go-redis/v9"

	"devctl/internal/api"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestFiles(t *testing.T) {
	t.Parallel()
	spec := api.RedisSpec{Shards: 3, Replicas: 1, MaxMemory: 64 << 20, NodeTimeoutMS: 2000}
	files, dirs := Files(spec, 2, api.Identity{Stack: "local", Name: "data-1", Role: api.RoleData, Zone: "a", Address: "198.18.0.101"})
	for _, f := range files {
		golden := filepath.Join("testdata", filepath.Base(f.Path))
		if *update {
			if err := os.WriteFile(golden, []byte(f.Content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), f.Content); diff != "" {
			t.Errorf("%s (-want +got), rewrite with -update:\n%s", golden, diff)
		}
		if f.Mode != 0o400 || f.UID != UID || f.GID != GID || filepath.Dir(f.Path) != "/etc/devctl/services/redis-2.service" {
			t.Errorf("%s has mode %o and belongs to %d:%d", f.Path, f.Mode, f.UID, f.GID)
		}
	}
	want := []api.File{{Path: "/var/lib/devctl/data/redis-2", Mode: 0o700, UID: UID, GID: GID}}
	if diff := cmp.Diff(want, dirs); diff != "" {
		t.Errorf("directories (-want +got):\n%s", diff)
	}
}

// TestUsers tries what each user may do on a real server with all slots.
func TestUsers(t *testing.T) {
	t.Parallel()
	s := newServer(t, t.TempDir(), api.RedisSpec{MaxMemory: 16 << 20, NodeTimeoutMS: 2000}, 1, "data-1", loopback(1)+".1")
	s.start()
	if _, err := newClient(s.address, adminCreds).do(t.Context(), command{"CLUSTER", "ADDSLOTSRANGE", "0", "16383"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the cluster serves", func() error {
		return s.as(credentials(api.RedisUserApp, api.SecretRedisApp)).Set(t.Context(), "key", "value", 0).Err()
	})
	cluster := []string{"CLUSTER INFO", "CLUSTER NODES", "CLUSTER SLOTS", "CLUSTER SHARDS", "CLUSTER MYID", "CLUSTER KEYSLOT key"}
	dangerous := []string{"CONFIG SET maxmemory 1", "SHUTDOWN NOSAVE", "ACL LIST", "FLUSHALL", "FLUSHDB", "KEYS *", "MONITOR",
		"REPLICAOF NO ONE", "SAVE", "MODULE LIST", "MIGRATE 127.0.0.1 1 key 0 1", "CLIENT KILL TYPE normal", "CLUSTER RESET HARD", "CLUSTER FLUSHSLOTS"}
	renewal := []string{"BGREWRITEAOF"}
	data := []string{"GET key", "SET key value", "DEL other", "SCAN 0", "EVAL return\x001 0", "SUBSCRIBE channel"}
	users := []struct {
		creds       Credentials
		may, maynot []string
	}{
		{credentials(api.RedisUserAdmin, api.SecretRedisAdmin),
			slices.Concat(cluster, renewal, []string{"PING", "INFO", "DBSIZE", "ROLE", "CLUSTER COUNTKEYSINSLOT 1", "CONFIG GET maxmemory", "SLOWLOG GET", "COMMAND COUNT"}),
			slices.Concat(data, dangerous, []string{"CLUSTER DELSLOTS 1", "CLUSTER DELSLOTSRANGE 1 2"})},
		{credentials(api.RedisUserReplication, api.SecretRedisReplication),
			[]string{"PING", "REPLCONF capa eof"},
			slices.Concat(data, dangerous, renewal, cluster, []string{"INFO", "SYNC"})},
		{credentials(api.RedisUserCheck, api.SecretRedisCheck),
			[]string{"PING", "INFO replication", "CLUSTER INFO"},
			slices.Concat(data, dangerous, renewal, []string{"CLUSTER NODES", "ROLE", "PSYNC ? -1"})},
		{credentials(api.RedisUserApp, api.SecretRedisApp),
			slices.Concat(data[:5], cluster, []string{"PING", "INFO", "ROLE", "READONLY", "READWRITE", "WAIT 0 1", "COMMAND COUNT", "CLIENT SETNAME me",
				"CLIENT ID", "MULTI", "DISCARD", "SORT key", "HSET h f v", "XADD s * f v", "PUBLISH channel hi", "SPUBLISH channel hi", "OBJECT ENCODING key", "ASKING"}),
			slices.Concat(dangerous, renewal, []string{"CLUSTER MEET 127.0.0.1 1", "CLUSTER FORGET x", "CLUSTER FAILOVER", "PSYNC ? -1", "CONFIG GET *", "RESTORE x 0 y", "SWAPDB 0 1"})},
		{Credentials{}, []string{}, slices.Concat(data, dangerous, renewal, cluster, []string{"PING"})},
	}
	for _, u := range users {
		client := goredis.NewClient(&goredis.Options{Addr: s.address, Username: u.creds.User, Password: u.creds.Password, Protocol: 2, DisableIdentity: true})
		defer client.Close()
		do := func(text string) error {
			fields := strings.Fields(text)
			args := make([]any, len(fields))
			for i, f := range fields {
				args[i] = strings.ReplaceAll(f, "\x00", " ")
			}
			return client.Do(t.Context(), args...).Err()
		}
		refused := func(err error) bool {
			return err != nil && (strings.HasPrefix(err.Error(), "NOPERM") || strings.HasPrefix(err.Error(), "NOAUTH"))
		}
		for _, text := range u.may {
			if err := do(text); refused(err) {
				t.Errorf("user %q may not %s: %v", u.creds.User, text, err)
			}
		}
		for _, text := range u.maynot {
			if err := do(text); !refused(err) {
				t.Errorf("user %q may %s: %v", u.creds.User, text, err)
			}
		}
	}
}

func TestInspect(t *testing.T) {
	t.Parallel()
	s := newServer(t, t.TempDir(), api.RedisSpec{MaxMemory: 16 << 20, NodeTimeoutMS: 2000}, 1, "data-1", loopback(2)+".1")
	s.start()
	got, err := Inspect(t.Context(), s.address, adminCreds)
	if err != nil {
		t.Fatal(err)
	}
	want := api.RedisInstance{Port: 7101, NodeID: got.NodeID, Role: "primary", State: "fail"}
	if diff := cmp.Diff(want, got); diff != "" || len(got.NodeID) != 40 {
		t.Errorf("blank member (-want +got):\n%s", diff)
	}
	if _, err := Inspect(t.Context(), s.address, Credentials{api.RedisUserAdmin, "wrong"}); err == nil ||
		err.Error() != "inspect Redis at "+s.address+`: authenticate as "admin": WRONGPASS invalid username-password pair or user is disabled.` {
		t.Errorf("with a wrong password: %v", err)
	}
	s.kill()
	if _, err := Inspect(t.Context(), s.address, adminCreds); err == nil ||
		err.Error() != "inspect Redis at "+s.address+": dial tcp "+s.address+": connect: connection refused" {
		t.Errorf("of a dead member: %v", err)
	}
	if _, err := Inspect(t.Context(), "127.0.0.1", adminCreds); err == nil || err.Error() != "inspect Redis: address 127.0.0.1: missing port in address" {
		t.Errorf("of no address: %v", err)
	}
	s.start()
	pause(t, s)
	start := time.Now()
	_, err = Inspect(t.Context(), s.address, adminCreds)
	var timeout interface{ Timeout() bool }
	if took := time.Since(start); !errors.As(err, &timeout) || !timeout.Timeout() || took > 2*answerTimeout {
		t.Errorf("of a hung member after %v: %v", took, err)
	}
}
