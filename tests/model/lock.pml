/* Lock, lease, fence and refence of Haven (docs/ha-protocol.md), as a model for spin.
 *
 * Two nodes, each of which may crash and run again; sessions that are never used twice;
 * one register that clients read and write. Every step is one atomic event. Time is
 * abstract: a lease lapses at any moment, and the one promise of the clock is that a
 * check cannot run out while a lease that rests on it still holds (GUARD_EXPIRY). What
 * turns seconds into that promise is simulated (tests/simulation), not modelled here.
 *
 * A mutant is this model with one rule left out: spin -DNO_FENCE and so on. Each must
 * fail; `tests/model/test_model.py` runs them all.
 */

#define NODES 2
#ifndef SESSIONS
#define SESSIONS 6
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef DESTROYS
#define DESTROYS 1
#endif
#ifndef WRITES
#define WRITES 3
#endif
#define NOBODY 0


#define OK 0        /* why a session's check is critical: not at all, */
#define TTL 1       /* its time ran out, */
#define OTHER 2     /* or anything else */

/* Consul ------------------------------------------------------------------- */
byte holder = NOBODY;          /* the session that holds the lock */
byte recorded = NOBODY;        /* the session that the lock's value names */
byte rec_node, rec_life;        /* and its node and run */
bool rec_owes, rec_released;   /* it owes a wait; it freed the lock itself */
bool ever;                     /* the lock exists */
bool alive[SESSIONS + 1];
byte critical[SESSIONS + 1];   /* critical is set first, the session ends later */
byte made;                     /* sessions made so far */
byte register_;                /* the version that storage holds */

/* Nodes -------------------------------------------------------------------- */
bool up[NODES] = true;
byte life[NODES];
byte tenure[NODES];            /* the session that fences its writes, or NOBODY */
bool lease[NODES];
byte backing[NODES];           /* the session whose check bounds the lease */
bool waits[NODES];             /* the lease before its own may still run */
bool doubt[NODES];
byte spare[NODES];
bool resigned[NODES];          /* this run said that it answers no more under any session it had */
byte cache[NODES];
bool cached[NODES];

#ifdef UNCONDITIONAL
bool saw_expired[NODES];
#endif

/* A write of unknown outcome on its way, one per node */
bool flying[NODES];
byte flying_session[NODES];
bool told_failed[NODES];

/* A lock transaction of unknown outcome on its way, one per node */
bool moving[NODES];
byte move_old[NODES], move_new[NODES];

/* What the clients know */
byte acknowledged;

byte crashes, destroys, writes;

#define other(i) (1 - i)
#define answers(i) (up[i] && tenure[i] != NOBODY && lease[i] && !waits[i])
#define mine(i) (holder == recorded && rec_node == i && rec_life == life[i])
#define dead(i) (!up[rec_node] || life[rec_node] != rec_life)

#ifdef LEASE_FROM_REPLY
#define GUARD_EXPIRY(s) true
#else
#define GUARD_EXPIRY(s) !(lease[0] && backing[0] == s) && !(lease[1] && backing[1] == s)
#endif

#ifdef NO_FENCE
#define fence(s) true
#else
#define fence(s) (holder == s)
#endif

/* A lease counts from the last pass of a chain that is sound: its check has not run out */
inline grant(i, s) {
    lease[i] = (critical[s] == OK);
    backing[i] = s
}

inline lose(i) {
    tenure[i] = NOBODY;
    lease[i] = false;
    waits[i] = false;
    doubt[i] = false;
#ifndef KEEP_CACHE
    cached[i] = false
#endif
}

inline record(i, s, owes) {
    holder = s;
    recorded = s;
    rec_node = i;
    rec_life = life[i];
    rec_owes = owes;
    rec_released = false;
    ever = true
}

/* The node has committed a lock transaction with its own session */
inline take(i, owes) {
    record(i, spare[i], owes);
    tenure[i] = spare[i];
    waits[i] = owes;
    doubt[i] = false;
    grant(i, spare[i]);
    spare[i] = NOBODY
}

#ifdef FORGET_OWED_WAIT
#define inherited false
#else
#define inherited rec_owes
#endif

#ifdef AT_ONCE
#define owed_otherwise false
#else
#define owed_otherwise true
#endif

active [NODES] proctype node() {
    byte i = _pid;

end:
    do
    /* Sessions: never an id twice, never one of a term that was lost */
    :: atomic { up[i] && spare[i] == NOBODY && made < SESSIONS && !moving[i] ->
        made++; alive[made] = true; spare[i] = made; resigned[i] = false }

    /* Roads to the lock (DESIGN.md 3.4), each conditional on what was seen */
    :: atomic { up[i] && tenure[i] == NOBODY && spare[i] != NOBODY && alive[spare[i]] && !moving[i] ->
        if
        :: !ever -> take(i, false)
        :: ever && holder == NOBODY && rec_released -> take(i, inherited)
        :: ever && holder == recorded && holder != NOBODY && dead(i) -> take(i, inherited)
        :: ever && holder == recorded && holder != NOBODY && !dead(i) && resigned[rec_node] && rec_node != i ->
            take(i, inherited)
#ifdef TRUST_ANY_CRITICAL
        :: ever && holder == NOBODY && !rec_released && critical[recorded] != OK -> take(i, inherited)
#else
        :: ever && holder == NOBODY && !rec_released && critical[recorded] == TTL -> take(i, inherited)
#endif
        :: ever && holder == NOBODY && !rec_released && critical[recorded] != TTL -> take(i, owed_otherwise)
#ifdef TIMEOUT_IS_DEATH
        :: ever && holder == recorded && holder != NOBODY && rec_node != i -> take(i, inherited)
#endif
#ifdef UNCONDITIONAL
        :: ever && holder == NOBODY && critical[recorded] == TTL -> saw_expired[i] = true
        :: saw_expired[i] -> saw_expired[i] = false; take(i, inherited)
#endif
        :: else -> skip
        fi }

    /* The owed wait is over when no lease before this one can run: one check TTL is enough */
    :: atomic { up[i] && waits[i] && !lease[other(i)] -> waits[i] = false }
#ifdef WRITES_WHILE_WAITING
    :: atomic { up[i] && waits[i] && tenure[i] != NOBODY && holder == tenure[i] && writes < WRITES ->
        writes++; register_++; acknowledged = register_ }
#endif

    /* Heartbeat: the consistent read */
    :: atomic { up[i] && tenure[i] != NOBODY ->
        if
        :: holder == tenure[i] ->
#ifdef EXTEND_LAPSED
            lease[i] = true
#else
            skip
#endif
        :: holder != tenure[i] && mine(i) ->
            doubt[i] = true                       /* an own session: refence from it */
        :: else ->
#ifdef NO_CONSISTENT_READ
            if :: alive[tenure[i]] -> skip :: else -> lose(i) fi
#else
            lose(i)
#endif
        fi }
#ifdef NO_CONSISTENT_READ
    :: atomic { up[i] && tenure[i] != NOBODY && !lease[i] && critical[tenure[i]] != TTL ->
        lease[i] = true; backing[i] = tenure[i] }
#endif
    :: atomic { lease[i] -> lease[i] = false; doubt[i] = true }

    /* Refence: move the lock from an own doubtful session to the spare */
    :: atomic { up[i] && doubt[i] && tenure[i] != NOBODY && spare[i] != NOBODY && alive[spare[i]] && !moving[i] ->
        if
        :: holder == tenure[i] ->
            record(i, spare[i], waits[i]);
            tenure[i] = spare[i];
#ifdef UNCAPPED_LEASE
            if :: lease[i] -> skip :: else -> grant(i, spare[i]) fi;
#else
            grant(i, spare[i]);
#endif
            spare[i] = NOBODY;
            doubt[i] = false;
            if                                    /* settle what was on its way by reading it */
            :: flying[i] && !told_failed[i] ->
#ifdef NO_FENCE
                told_failed[i] = true             /* not there yet, but still on its way */
#else
                flying[i] = false
#endif
            :: else -> skip
            fi
        :: holder == tenure[i] ->                  /* its outcome is unknown */
            moving[i] = true; move_old[i] = tenure[i]; move_new[i] = spare[i];
            spare[i] = NOBODY; lose(i)
        :: else -> skip
        fi }

    /* Hand-over and release: the term ends before the transaction is sent */
    :: atomic { up[i] && tenure[i] != NOBODY && holder == tenure[i] && !doubt[i] && !moving[i] ->
        if
        :: rec_released = true; holder = NOBODY; lose(i)
        :: moving[i] = true; move_old[i] = tenure[i]; move_new[i] = NOBODY;
#ifndef GOES_ON_AFTER_HAND_OVER
            lose(i)
#endif
        fi }
    :: atomic { up[i] && tenure[i] != NOBODY && !moving[i] ->      /* resign: every session given up */
        spare[i] = NOBODY; lose(i); resigned[i] = true }

    /* A lock transaction that was applied late, or never */
    :: atomic { moving[i] ->
        moving[i] = false;
        if
        :: holder == move_old[i] && (move_new[i] == NOBODY || alive[move_new[i]]) ->
            if
            :: move_new[i] == NOBODY -> holder = NOBODY; rec_released = true
            :: else -> holder = move_new[i]; recorded = move_new[i]
            fi
        :: true
        fi }
    /* A lock that is held by an own session under which it is not active: give it up */
    :: atomic { up[i] && tenure[i] == NOBODY && holder != NOBODY && mine(i) &&
                !moving[i] && spare[i] != NOBODY && alive[spare[i]] ->
        take(i, inherited) }

    /* Clients: every read that starts after an acknowledgement sees it */
    :: atomic { answers(i) ->
        if
        :: !cached[i] -> cached[i] = true; cache[i] = register_
        :: else -> skip
        fi;
        assert(cache[i] >= acknowledged);
        assert(!answers(other(i))) }
    :: atomic { answers(i) && !doubt[i] && !flying[i] && writes < WRITES ->
        writes++;
        if
        :: fence(tenure[i]) -> register_++; cache[i] = register_; cached[i] = true; acknowledged = register_
        :: !fence(tenure[i]) -> doubt[i] = true
        :: flying[i] = true; flying_session[i] = tenure[i]; cached[i] = false;
            told_failed[i] = false;
#ifdef UNKNOWN_IS_FAILED
            told_failed[i] = true
#else
#ifdef GOES_ON_UNDER_OLD_SESSION
            told_failed[i] = true
#else
            doubt[i] = true
#endif
#endif
        fi }
    :: atomic { flying[i] ->
        flying[i] = false;
        if
        :: fence(flying_session[i]) ->
            assert(!told_failed[i]);
            register_++;
            if :: tenure[i] == flying_session[i] -> cached[i] = false :: else fi
        :: true
        fi }

    /* Faults */
    :: atomic { up[i] && crashes < CRASHES ->
        crashes++; up[i] = false; spare[i] = NOBODY; tenure[i] = NOBODY; lease[i] = false;
        waits[i] = false; doubt[i] = false; cached[i] = false; resigned[i] = false }
    :: atomic { !up[i] && !moving[i] -> up[i] = true; life[i]++ }
    od
}

active proctype consul() {
    byte s;

end:
    do
    :: atomic { made > 0 -> select(s : 1 .. SESSIONS);
        if
        :: alive[s] && critical[s] == OK && GUARD_EXPIRY(s) -> critical[s] = TTL
        :: alive[s] && critical[s] == TTL && !(GUARD_EXPIRY(s)) -> skip
        :: alive[s] && critical[s] == TTL ->
            alive[s] = false;
            if :: holder == s -> holder = NOBODY :: else fi
        :: alive[s] && critical[s] == OK && destroys < DESTROYS ->    /* by hand, or serfHealth */
            destroys++; critical[s] = OTHER; alive[s] = false;
            if :: holder == s -> holder = NOBODY :: else fi
        :: else -> skip
        fi }
    od
}
