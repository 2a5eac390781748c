----------------------------- MODULE Revocation -----------------------------
(***************************************************************************)
(* Ending a session, and being sure that it is over: the revocation log,   *)
(* the leases of those who decide alone, and the confirmation of an end.   *)
(*                                                                         *)
(* A *process* (a follower, or a node) asks a *granter* (the server, or a  *)
(* node) for the log after its cursor.  By asking it acknowledges what it  *)
(* has applied.  The answer carries entries and a lease.  While the lease  *)
(* runs, the process accepts every session that is not in its set.         *)
(*                                                                         *)
(* `Fault` breaks one rule.  With "none" the invariants hold; with any     *)
(* other name `ConfirmedIsGone` must fail.  README.md lists the names.     *)
(***************************************************************************)
EXTENDS Naturals, Sequences, FiniteSets, TLC

CONSTANTS
    Followers, Nodes, Sessions,
    L,             \* the length of a lease, in ticks
    Allowance,     \* what whoever waits a lease out adds for clocks that differ
    Drift,         \* how many ticks the clock of a process may lose
    TokenLife,     \* how long an access token lives; 0: for ever, and entries never leave
    Page,          \* entries in one answer, at most
    FollowerAsks,  \* questions that a follower asks, at most
    NodeAsks,      \* questions that a node asks, at most
    IdentitiesMax, \* identities that a process draws, at most
    StartsMax,     \* restarts of the server, at most
    NewLogId,      \* whether a start gives the log a new id (a single server) or not (PostgreSQL)
    Backups,       \* whether a start may be from a backup
    Twins,         \* whether all followers begin with one identity, and may be copied
    Fault

VARIABLES
    \* The store. It survives a restart.
    log,        \* entries: whose end, and a tag that no other entry has
    logId,
    age,        \* ticks since a session ended, as far as that matters
    hidden,     \* places in the log that are not visible yet (only when broken)
    \* The server's memory.
    starts,     \* how often it was restarted
    earlier,    \* ticks until every lease of the process before is over
    \* The memory of every granter.
    rows,       \* what it knows of each identity: its lease, what it acknowledged, the answer it must name next
    waiting,    \* questions that have arrived and have no answer yet
    owed,       \* leases that run without the entry: neither acknowledged nor over
    late,       \* leases that are out and not yet written down (only when broken)
    \* The memory of every process.
    identity, drawn, asks,
    cursor, set, left, last,
    asking,     \* whether a question of it is open, and its age by the clock of the process
    lag,        \* ticks that its clock has lost
    unapplied,  \* entries that were acknowledged before they were applied (only when broken)
    looked,     \* sessions that were looked up before the lease was (only when broken)
    \* The network: what was sent may arrive late, twice, in any order, or never.
    questions, answers,
    \* What happened.
    token,      \* ticks until the youngest token of a session is dead by every clock
    proved,     \* proofs of life that wait to be signed (only when broken)
    confirmed   \* sessions whose end was confirmed to somebody

store    == <<log, logId, age, hidden>>
server   == <<starts, earlier>>
granters == <<rows, waiting, owed, late>>
who      == <<identity, drawn, asks, lag>>
holds    == <<cursor, set, left, last, unapplied, looked>>
network  == <<questions, answers>>
history  == <<token, proved, confirmed>>
vars     == <<store, server, granters, who, holds, asking, network, history>>

-----------------------------------------------------------------------------
Server     == "server"
Granters   == {Server} \cup Nodes
Processes  == Followers \cup Nodes
Identities == Processes \X (1..IdentitiesMax)

Min(a, b)   == IF a < b THEN a ELSE b
Max(a, b)   == IF a > b THEN a ELSE b
Minus(a, b) == IF a > b THEN a - b ELSE 0

\* How long to wait for a lease that is counted on another clock.
Waited(lease) == IF Fault = "NoAllowance" THEN lease ELSE lease + Allowance

Ended == {log[i].session : i \in 1..Len(log)}

\* How long an entry is kept. A process that holds a lease may still sign a token after the end, so the lease counts;
\* and a process whose clock is slow accepts it for longer.
Ages   == TokenLife > 0
Fresh  == IF Ages THEN TokenLife + Drift ELSE 0
Keep   == Fresh + (IF Fault = "EntryLeavesEarly" THEN 0 ELSE L + Drift)
HasLeft(s) == Ages /\ age[s] >= Keep

\* Answers are named by the question that they answer, and by the process of the server that gave them.
Unknown == <<"unknown">>  \* of this identity nothing is known
Open    == <<"open">>     \* its question has no answer yet
Nothing == <<>>           \* it has heard no answer yet

NoRow  == [until |-> 0, acknowledged |-> 0, expected |-> Unknown, shared |-> FALSE]
Start  == [log |-> 0, place |-> 0, tag |-> 0]
Closed == [open |-> FALSE, age |-> 0]

Init ==
    /\ log = <<>> /\ logId = 1 /\ hidden = {}
    /\ age = [s \in Sessions |-> 0]
    /\ starts = 0 /\ earlier = 0
    /\ rows = [g \in Granters |-> [i \in Identities |-> NoRow]]
    /\ waiting = [g \in Granters |-> {}]
    /\ owed = [g \in Granters |-> {}]
    /\ late = {}
    /\ identity = [p \in Processes |-> IF Twins THEN <<CHOOSE f \in Followers : TRUE, 1>> ELSE <<p, 1>>]
    /\ drawn = [p \in Processes |-> 1]
    /\ asks = [p \in Processes |-> 0]
    /\ cursor = [p \in Processes |-> Start]
    /\ set = [p \in Processes |-> {}]
    /\ left = [p \in Processes |-> 0]
    /\ last = [p \in Processes |-> Nothing]
    /\ asking = [p \in Processes |-> Closed]
    /\ lag = [p \in Processes |-> 0]
    /\ unapplied = [p \in Processes |-> {}]
    /\ looked = [p \in Processes |-> {}]
    /\ questions = {} /\ answers = {}
    /\ token = [s \in Sessions |-> Fresh]
    /\ proved = {} /\ confirmed = {}

-----------------------------------------------------------------------------
(* The log.                                                                *)

\* Whether a cursor is of this history: the log is this one, and its entry is there and has its tag.
OfThisLog(c) ==
    IF Fault = "CursorIsSequence"
    THEN c.place <= Len(log)
    ELSE /\ c.log = logId
         /\ c.place <= Len(log)
         /\ c.place > 0 /\ Fault # "CursorWithoutTag" => log[c.place].tag = c.tag

CursorAt(place) == [log |-> logId, place |-> place, tag |-> IF place = 0 THEN 0 ELSE log[place].tag]

\* How far a granter can tell: the server all that is visible, a node what it has applied.
LastPlace(g) ==
    IF g # Server THEN IF OfThisLog(cursor[g]) THEN cursor[g].place ELSE 0
    ELSE IF Len(log) \in hidden THEN Len(log) - 1 ELSE Len(log)

\* The leases that run at granter `g` without the entries in `places`.
Owing(g, places) ==
    {[place |-> n, identity |-> i, left |-> rows[g][i].until] :
        n \in places, i \in {j \in Identities : rows[g][j].until > 0}}

StillOwing(g, places) == {o \in Owing(g, places) : rows[g][o.identity].acknowledged < o.place}

-----------------------------------------------------------------------------
(* Ending and confirming.                                                  *)

\* One commit: the session is gone, its tombstone and its entry are there. The leases that run are those to wait for.
End(s) ==
    /\ s \notin Ended
    /\ LET place == Len(log) + 1 IN
        /\ log' = Append(log, [session |-> s, tag |-> starts * 10 + place])
        /\ owed' = [owed EXCEPT ![Server] = @ \cup Owing(Server, {place})]
        /\ hidden' = IF Fault = "GapUnderConcurrentCommits" THEN hidden \cup {place} ELSE hidden
    /\ UNCHANGED <<logId, age, server, rows, waiting, late, who, holds, asking, network, history>>

\* Two commits end in another order than they began.
Appear(place) ==
    /\ place \in hidden
    /\ hidden' = hidden \ {place}
    /\ UNCHANGED <<log, logId, age, server, granters, who, holds, asking, network, history>>

\* Somebody asks to confirm and is told so. It need not be who ended it: the tombstone keeps the place of the entry.
Confirm(s) ==
    /\ s \in Ended \ confirmed
    /\ \/ Fault = "SuccessOnAlreadyEnded"
       \/ /\ earlier = 0
          /\ \A o \in owed[Server] : log[o.place].session # s
          /\ \A n \in hidden : log[n].session # s
    /\ confirmed' = confirmed \cup {s}
    /\ UNCHANGED <<store, server, granters, who, holds, asking, network, token, proved>>

\* The server starts again and knows no lease any more. Perhaps from a backup: then history after it is lost, and
\* every session that the backup holds is ended, in no particular order.
Restart ==
    /\ starts < StartsMax
    /\ starts' = starts + 1
    /\ logId' = IF NewLogId THEN logId + 1 ELSE logId
    /\ earlier' = CASE Fault = "ForgetOnRestart" -> 0
                    [] Fault = "LongestLeaseForgotten" -> Waited(L - 1)
                    [] OTHER -> Waited(L)
    /\ rows' = [rows EXCEPT ![Server] = [i \in Identities |-> NoRow]]
    /\ waiting' = [waiting EXCEPT ![Server] = {}]
    /\ owed' = [owed EXCEPT ![Server] = {}]
    /\ hidden' = {}
    /\ \/ log' = log
       \/ /\ Backups
          /\ \E kept \in 0..Len(log) :
               LET lost == Sessions \ {log[i].session : i \in 1..kept}
                   Tagged(n, s) == [session |-> s, tag |-> starts' * 10 + n]
               IN \E order \in [1..Cardinality(lost) -> lost] :
                    /\ {order[n] : n \in DOMAIN order} = lost
                    /\ log' = SubSeq(log, 1, kept) \o [n \in DOMAIN order |-> Tagged(kept + n, order[n])]
    /\ UNCHANGED <<age, late, who, holds, asking, network, history>>

-----------------------------------------------------------------------------
(* Asking.                                                                 *)

\* A node acknowledges an entry only once every lease that it granted before is acknowledged or over.
Acknowledgeable(p) ==
    IF p \in Nodes /\ owed[p] # {} /\ Fault # "NodeAcknowledgesEarly"
    THEN (CHOOSE n \in 1..Len(log) :
            /\ \E o \in owed[p] : o.place = n
            /\ \A o \in owed[p] : o.place >= n) - 1
    ELSE cursor[p].place

\* Only the last question of a process counts. What it can still hear:
StillAwaited(as, p) == IF Fault = "AnswerToAnother" THEN as ELSE {a \in as : a.process # p}

Ask(p, g) ==
    /\ asks[p] < IF p \in Nodes THEN NodeAsks ELSE FollowerAsks
    /\ g # p /\ (p \in Nodes => g = Server)
    /\ asks' = [asks EXCEPT ![p] = @ + 1]
    /\ asking' = [asking EXCEPT ![p] = [open |-> TRUE, age |-> 0]]
    /\ questions' = questions \cup
        {[process |-> p, number |-> asks[p] + 1, to |-> g, identity |-> identity[p], last |-> last[p],
          cursor |-> cursor[p], acknowledges |-> Acknowledgeable(p)]}
    /\ answers' = StillAwaited(answers, p)
    /\ UNCHANGED <<store, server, granters, identity, drawn, lag, holds, history>>

\* A question arrives. If it does not name the answer that this identity got last, then two processes use the identity,
\* or an answer was lost: it acknowledges nothing from now on. (Who asked draws a new identity: `Rename`.)
Arrive(q) ==
    LET g     == q.to
        row   == rows[g][q.identity]
        alone == row.expected = Unknown \/ (~row.shared /\ row.expected = q.last)
        heard == [row EXCEPT !.expected = Open,
                             !.acknowledged = IF OfThisLog(q.cursor) THEN Max(@, q.acknowledges) ELSE @]
    IN
    /\ \A w \in waiting[g] : w.question # q
    /\ IF alone \/ Fault = "SharedIdentity"
       THEN /\ rows' = [rows EXCEPT ![g][q.identity] = heard]
            /\ waiting' = [waiting EXCEPT ![g] = @ \cup
                {[question |-> q, age |-> 0, own |-> IF g = Server THEN 0 ELSE left[g], read |-> FALSE, head |-> 0]}]
            /\ owed' = [owed EXCEPT ![g] =
                {o \in @ : o.identity # q.identity \/ o.place > heard.acknowledged}]
       ELSE /\ rows' = [rows EXCEPT ![g][q.identity].shared = TRUE]
            /\ UNCHANGED <<waiting, owed>>
    /\ UNCHANGED <<store, server, late, who, holds, asking, network, history>>

\* Broken: what the answer will say is read before the lock is taken.
Read(g, w) ==
    /\ Fault = "ReadBeforeLock" /\ ~w.read
    /\ waiting' = [waiting EXCEPT ![g] = (@ \ {w}) \cup {[w EXCEPT !.read = TRUE, !.head = LastPlace(g)]}]
    /\ UNCHANGED <<store, server, rows, owed, late, who, holds, asking, network, history>>

\* The lease that a granter may give: a node at most what was left of its own when the question arrived, less what
\* two clocks may differ.
Grantable(g, w) ==
    CASE g = Server -> L
      [] Fault = "NodeGrantsWhole" -> L
      [] Fault = "NodeWithoutAllowance" -> Min(L, w.own)
      [] OTHER -> Min(L, Minus(w.own, Allowance))

\* Under one lock: read the log, write down the lease, let the answer leave. There is no lease before the last page.
Answer(g, w) ==
    LET q      == w.question
        head   == IF Fault = "ReadBeforeLock" THEN w.head ELSE LastPlace(g)
        known  == OfThisLog(q.cursor)
        back   == known /\ q.cursor.place > head
        from   == IF known /\ ~back THEN q.cursor.place ELSE 0
        to     == Min(from + Page, head)
        row    == rows[g][q.identity]
        lease  == IF to < head \/ row.shared THEN 0 ELSE Grantable(g, w)
        until  == IF lease = 0 THEN 0 ELSE Minus(Waited(lease), w.age)
        name   == <<q.process, q.number, starts>>
        answer == [process |-> q.process, number |-> q.number, name |-> name, cursor |-> CursorAt(to),
                   ended |-> {log[n].session :
                        n \in {m \in from + 1..to : m \notin hidden /\ ~HasLeft(log[m].session)}},
                   snapshot |-> ~known \/ back, lease |-> lease]
        awaited == (asking[q.process].open /\ asks[q.process] = q.number) \/ Fault = "AnswerToAnother"
        afterwards == Fault = "RegisterAfterAnswer" /\ lease > 0
    IN
    /\ Fault = "ReadBeforeLock" => w.read
    /\ g # Server => OfThisLog(cursor[g])
    /\ back => Fault = "TakenBackwards"    \* whoever is behind a cursor catches up before it answers
    /\ rows' = [rows EXCEPT ![g][q.identity].expected = name,
                            ![g][q.identity].until = IF afterwards THEN @ ELSE Max(@, until)]
    /\ late' = IF afterwards THEN late \cup {[granter |-> g, identity |-> q.identity, until |-> until]} ELSE late
    /\ waiting' = [waiting EXCEPT ![g] = @ \ {w}]
    /\ answers' = IF awaited THEN answers \cup {answer} ELSE answers
    /\ UNCHANGED <<store, server, owed, who, holds, asking, questions, history>>

\* Broken: the lease is written down after its answer has left.
Register(r) ==
    /\ late' = late \ {r}
    /\ rows' = [rows EXCEPT ![r.granter][r.identity].until = Max(@, r.until)]
    /\ UNCHANGED <<store, server, waiting, owed, who, holds, asking, network, history>>

\* An answer to the open question: entries, cursor and lease in one step. A snapshot is united with what is held.
Hear(p, a) ==
    LET replaces == a.snapshot /\ Fault \in {"SnapshotReplaces", "TakenBackwards"}
        held     == IF replaces THEN a.ended ELSE set[p] \cup a.ended
        elapsed  == IF Fault = "CountFromAnswer" THEN 0 ELSE asking[p].age
        new      == {n \in 1..a.cursor.place : log[n].session \in a.ended \ set[p]}
    IN
    /\ asking[p].open
    /\ a.process = p \/ Fault = "AnswerToAnother"
    /\ IF Fault = "AckBeforeApply"
       THEN unapplied' = [unapplied EXCEPT ![p] = @ \cup a.ended] /\ UNCHANGED set
       ELSE set' = [set EXCEPT ![p] = {s \in held : ~HasLeft(s)}] /\ UNCHANGED unapplied
    /\ cursor' = [cursor EXCEPT ![p] = a.cursor]
    /\ last' = [last EXCEPT ![p] = a.name]
    /\ left' = [left EXCEPT ![p] = Max(@, Minus(a.lease, elapsed))]
    /\ asking' = [asking EXCEPT ![p] = Closed]
    /\ answers' = StillAwaited(answers, p)
    /\ owed' = IF p \in Nodes THEN [owed EXCEPT ![p] = @ \cup StillOwing(p, new)] ELSE owed
    /\ UNCHANGED <<store, server, rows, waiting, late, who, looked, questions, history>>

\* Broken: what was acknowledged is applied at last.
Apply(p) ==
    /\ unapplied[p] # {}
    /\ set' = [set EXCEPT ![p] = @ \cup unapplied[p]]
    /\ unapplied' = [unapplied EXCEPT ![p] = {}]
    /\ UNCHANGED <<store, server, granters, who, cursor, left, last, looked, asking, network, history>>

-----------------------------------------------------------------------------
(* What befalls a process.                                                 *)

Draw(p) ==
    /\ drawn[p] < IdentitiesMax
    /\ drawn' = [drawn EXCEPT ![p] = @ + 1]
    /\ identity' = [identity EXCEPT ![p] = <<p, drawn[p] + 1>>]
    /\ last' = [last EXCEPT ![p] = Nothing]
    /\ asking' = [asking EXCEPT ![p] = Closed]
    /\ answers' = StillAwaited(answers, p)

\* It was told to draw a new identity, or does so by itself. What it holds stays.
Rename(p) ==
    /\ Draw(p)
    /\ UNCHANGED <<store, server, granters, asks, lag, cursor, set, left, unapplied, looked, questions, history>>

\* It crashes and starts again, with a new identity and nothing else.
Crash(p) ==
    /\ Draw(p)
    /\ cursor' = [cursor EXCEPT ![p] = Start]
    /\ set' = [set EXCEPT ![p] = {}]
    /\ left' = [left EXCEPT ![p] = 0]
    /\ unapplied' = [unapplied EXCEPT ![p] = {}]
    /\ looked' = [looked EXCEPT ![p] = {}]
    /\ rows' = IF p \in Nodes THEN [rows EXCEPT ![p] = [i \in Identities |-> NoRow]] ELSE rows
    /\ waiting' = IF p \in Nodes THEN [waiting EXCEPT ![p] = {}] ELSE waiting
    /\ owed' = IF p \in Nodes THEN [owed EXCEPT ![p] = {}] ELSE owed
    /\ UNCHANGED <<store, server, late, asks, lag, questions, history>>

\* The image of a process is started a second time. That may be done while it holds no lease and no open question.
Copy(p, twin) ==
    /\ Twins /\ p # twin /\ asks[p] > 0
    /\ asks[twin] = 0 /\ cursor[twin] = Start
    /\ Fault = "CopiedWhileLeased" \/ (left[p] = 0 /\ ~asking[p].open)
    /\ identity' = [identity EXCEPT ![twin] = identity[p]]
    /\ last' = [last EXCEPT ![twin] = last[p]]
    /\ cursor' = [cursor EXCEPT ![twin] = cursor[p]]
    /\ set' = [set EXCEPT ![twin] = set[p]]
    /\ UNCHANGED <<store, server, granters, drawn, asks, lag, left, unapplied, looked, asking, network, history>>

-----------------------------------------------------------------------------
(* Time.  The server's clock is the measure; a process may lose `Drift`    *)
(* ticks.  A paused process is one that takes no step while time passes.   *)

Tick ==
    \E slow \in SUBSET {p \in Processes : lag[p] < Drift \/ Fault = "CachedNow"} :
        LET Passed(p) == IF p \in slow THEN 0 ELSE 1
            On(g) == IF g = Server THEN 1 ELSE Passed(g)
            Older(w, t) == [w EXCEPT !.age = Min(@ + t, L + Allowance)]
            Shorter(o, t) == [o EXCEPT !.left = Minus(@, t)]
        IN
        /\ lag' = [p \in Processes |-> Min(lag[p] + 1 - Passed(p), Drift)]
        /\ left' = [p \in Processes |-> Minus(left[p], Passed(p))]
        /\ asking' = [p \in Processes |->
            IF asking[p].open THEN [asking[p] EXCEPT !.age = Min(@ + Passed(p), L)] ELSE asking[p]]
        /\ earlier' = Minus(earlier, 1)
        /\ rows' = [g \in Granters |-> [i \in Identities |-> [rows[g][i] EXCEPT !.until = Minus(@, On(g))]]]
        /\ waiting' = [g \in Granters |->
            {[Older(w, On(g)) EXCEPT !.own = @] : w \in waiting[g]}]
        /\ owed' = [g \in Granters |-> {o \in {Shorter(x, On(g)) : x \in owed[g]} : o.left > 0}]
        /\ age' = [s \in Sessions |-> IF Ages /\ s \in Ended THEN Min(age[s] + 1, Keep) ELSE 0]
        /\ token' = [s \in Sessions |-> IF s \in Ended THEN Minus(token[s], 1) ELSE token[s]]
    /\ UNCHANGED <<log, logId, hidden, starts, late, identity, drawn, asks,
                   cursor, set, last, unapplied, looked, network, proved, confirmed>>

-----------------------------------------------------------------------------
(* Deciding.                                                               *)

MayDecide(p) == left[p] > 0
\* By its own clock, which was set by the server's and may have lost ticks.
TokenLives(p, s) == ~Ages \/ token[s] + lag[p] > Drift

\* Whether a request that `p` begins to read now could be accepted.
Accepts(p, s) ==
    /\ MayDecide(p)
    /\ s \notin set[p] \/ s \in looked[p]
    /\ TokenLives(p, s)

\* A process that holds a lease, and a copy of the session from before its end, signs a token. The token's times are
\* those of the proof of life. A copy is kept no longer than a token lives.
Issue(p, s) ==
    /\ Ages /\ s \in Ended /\ MayDecide(p) /\ s \notin set[p]
    /\ age[s] < TokenLife + lag[p] \/ Fault = "CopyNeverAges"
    /\ IF Fault = "SignedLate"
       THEN proved' = proved \cup {s} /\ UNCHANGED token
       ELSE token' = [token EXCEPT ![s] = Fresh] /\ UNCHANGED proved
    /\ UNCHANGED <<store, server, granters, who, holds, asking, network, confirmed>>

\* Broken: the process was paused between the proof and the signature.
Sign(s) ==
    /\ s \in proved
    /\ proved' = proved \ {s}
    /\ token' = [token EXCEPT ![s] = Fresh]
    /\ UNCHANGED <<store, server, granters, who, holds, asking, network, confirmed>>

\* Broken: a request that began after the confirmation looks at the set first, and at the lease later.
Look(p, s) ==
    /\ Fault = "SetBeforeLease"
    /\ s \in confirmed \ set[p]
    /\ looked' = [looked EXCEPT ![p] = @ \cup {s}]
    /\ UNCHANGED <<store, server, granters, who, cursor, set, left, last, unapplied, asking, network, history>>

-----------------------------------------------------------------------------
Next ==
    \/ \E s \in Sessions : End(s) \/ Confirm(s) \/ Sign(s)
    \/ \E n \in hidden : Appear(n)
    \/ Restart
    \/ \E p \in Processes, g \in Granters : Ask(p, g)
    \/ \E q \in questions : Arrive(q)
    \/ \E g \in Granters : \E w \in waiting[g] : Read(g, w) \/ Answer(g, w)
    \/ \E r \in late : Register(r)
    \/ \E p \in Processes : \E a \in answers : Hear(p, a)
    \/ \E p \in Processes : Apply(p) \/ Rename(p) \/ Crash(p)
    \/ \E p, twin \in Followers : Copy(p, twin)
    \/ \E p \in Processes, s \in Sessions : Issue(p, s) \/ Look(p, s)
    \/ Tick

Spec == Init /\ [][Next]_vars

-----------------------------------------------------------------------------
\* Once a confirmation has returned, nobody accepts the session by a decision that begins after it.
ConfirmedIsGone == \A s \in confirmed, p \in Processes : ~Accepts(p, s)

\* What has ended is never alive again, neither in the store nor where it was known and its tokens may live.
EndedStaysEnded ==
    [][/\ Ended \subseteq Ended'
       /\ confirmed \subseteq confirmed'
       /\ \A p \in Processes : set[p] \subseteq set'[p] \/ drawn'[p] # drawn[p]
            \/ \A s \in set[p] \ set'[p] : HasLeft(s)]_vars

\* Confirmed or not: once a lease is over, nobody accepts it.
BoundHolds == \A s \in Ended, p \in Processes : Ages /\ age[s] >= L + Allowance => ~Accepts(p, s)

Symmetry == Permutations(Followers)
=============================================================================
