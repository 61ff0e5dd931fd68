package localcloud

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"devctl/internal/api"
)

func TestTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var all turns
		var holding []*turn
		for range places() {
			held, err := all.take(t.Context(), api.RoleWorker)
			if err != nil {
				t.Fatal(err)
			}
			holding = append(holding, held)
		}
		var mu sync.Mutex
		var order []api.Role
		for _, role := range []api.Role{api.RoleWorker, api.RoleData, api.RoleMain, api.RoleMain} {
			go func() {
				mine, err := all.take(t.Context(), role)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				order = append(order, role)
				mu.Unlock()
				mine.done()
				mine.done() // must not free a second place
			}()
		}
		time.Sleep(2 * gather)
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := all.take(ctx, api.RoleMain); !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled wait ended with %v", err)
		}
		if len(order) > 0 {
			t.Fatalf("%v had a turn while all places were taken", order)
		}
		holding[0].done()
		synctest.Wait()
		want := []api.Role{api.RoleMain, api.RoleMain, api.RoleData, api.RoleWorker}
		if len(order) != len(want) {
			t.Fatalf("turns went to %v, want %v", order, want)
		}
		for i := range want {
			if order[i] != want[i] {
				t.Fatalf("turns went to %v, want %v", order, want)
			}
		}
		for _, held := range holding[1:] {
			held.done()
		}
		if all.taken != 0 || len(all.waiting) != 0 {
			t.Errorf("%d places are taken and %d wait at the end", all.taken, len(all.waiting))
		}
	})
}
