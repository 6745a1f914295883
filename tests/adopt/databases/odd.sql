-- What no tidy database has: names, types, keys and references that stretch every rule.

create schema "Weird Schema";
create schema "other";
create type "Weird Schema"."Odd Enum" as enum ('', 'a b', '1', 'true', 'VALUE_3', 'ä');
create type signs as enum ('1', '-1', '+', 'VALUE_1');
create type nested as (a int, b text[], at timestamptz);
create domain small as int check (value between 1 and 100) default 7;
create domain smaller as small check (value < 50);

create table "Weird Schema"."select" (
    "class" int primary key, "from" text not null default 'it''s', "null" text, "true" boolean default true, "Größe in cm" numeric(5, 1),
    "a""b" text, "  spaces  " text, "名前" text, "1st" text, "createdAt" timestamptz default now(), "_private__x_" text, "order" int, "limit" int,
    self int, "to_dict" text, revision int, created text, expires timestamptz, op text, len text, "record" int, "Size" int, size int
);
create index on "Weird Schema"."select" ("order", "limit");
create index on "Weird Schema"."select" (created);
create index on "Weird Schema"."select" (revision desc);
create unique index on "Weird Schema"."select" (lower("a""b")) where "null" is null and not "true";
create index "partial ""quoted""" on "Weird Schema"."select" (self) where "from" in ('it''s', 'back\slash', '#') or "null" is not null;

create table "other"."select" (id text primary key, e "Weird Schema"."Odd Enum", s signs not null default '-1', ss signs[], unique (s, e));
create table "User" (id uuid primary key, "user" text);
create table users (id int primary key, mother int references users, father int not null references users (id) on delete cascade, best_of uuid references "User");
create table "USERS" (id smallint primary key);
create table store (id int primary key, open text, "check" int);
create table pages (id int primary key); create table page (id int primary key); create table session (id int primary key);
create table "名" (id int primary key);
create table series (id int primary key, status text);
create table package (id int primary key);
create table "None" (id int primary key, class_ int);

create table a (id int primary key, b int not null); create table b (id int primary key, c int not null);
create table c (id int primary key, a int not null references a deferrable initially deferred);
alter table a add foreign key (b) references b deferrable initially deferred;
alter table b add foreign key (c) references c deferrable initially deferred;
create table one_to_one (id int primary key references a, value text);
create table composite_child (x int, y int references users on delete set default, primary key (y, x));
create table refers_to_composite (id int primary key, x int, y int, foreign key (y, x) references composite_child match full);
create table refers_to_unique (id int primary key, slug text references "other"."select" (id) on update cascade, code int);
create table numeric_key (id numeric(10, 0) primary key);
create table refers_numeric (id numeric(10) primary key references numeric_key, other numeric(10) references numeric_key);
create table date_key (day date primary key, ok boolean);
create table refers_date (id int primary key, day date references date_key);
create table bool_key (ok boolean, at timestamp, amount numeric, primary key (ok, at, amount));
create table enum_key (s signs, n int, primary key (s, n));
create table only_enum_key (s signs primary key);
create table bytes_key (b bytea primary key, hash bytea unique);
create table no_key_but_unique (a int not null, b text not null, c float8, unique (b, a), unique (c));

create table domains (id small primary key, d smaller, ds small[], n small not null);
create table everything (
    id bigint primary key, a smallint, b real, c numeric, d numeric(3, -2), e numeric(3, 5), f varchar, g char, h "char", i name, j bit(3),
    k varbit, l money, m cidr, n macaddr, o point, p int4range, q xml, r tsvector, s jsonb[], t nested, u nested[], v interval,
    w timetz, x text[][], y uuid[], z timestamptz[], aa bytea[], bb numeric(6, 2)[], cc date[], dd time[], ee bool[], ff json, gg pg_lsn, hh oid,
    ii numrange[], jj timestamp[], kk interval[], ll varchar(3)[], mm signs[]
);
create table parent (id int primary key, name text);
create table child (age int, primary key (id)) inherits (parent);
create table logs (at timestamptz not null, id int not null, text text, primary key (at, id)) partition by list (id);
create table logs_1 partition of logs for values in (1, 2); create table logs_rest partition of logs default;
create view a_view as select 1 as x; create materialized view a_matview as select 1 as x;

create table checks (
    id int primary key, a int, b int not null, t text, f float8, d date, m timestamptz, n numeric(20, 3), u uuid, ok boolean, lang varchar(2),
    kind text check (kind in ('x', 'y') or kind is null),
    bad text check (bad in ('', 'y')),
    constraint between_ check (a between -5 and 5 and b not in (1, 2)),
    constraint "odd name!" check (not (a > 3 and b > 3) or t is null),
    constraint dates check (d > '2020-01-01' and m < '2100-01-01 00:00:00+02' and d <> date '2021-05-05'),
    constraint texts check (t <> '' and length(t) > 2 and t not like 'x%'),
    constraint len_ check (length(t) > 2), constraint ok_ check (ok), constraint not_ok check (ok is not true or b > 0),
    constraint sums check (a + b * 2 - 1 < 100), constraint division check (a / 2 > 0), constraint mods check (b % 2 = 1),
    constraint uu check (u <> '00000000-0000-0000-0000-000000000000'), constraint strings check (t < 'm'), constraint nums check (n > 0.5 and f < 2.5), constraint always_ check (a is null or a < 5 or b = b),
    constraint coalesced check (coalesce(a, 0) <> 9), constraint always check (1 = 1), constraint cases check (case when a = 1 then false else true end),
    constraint later check (true) no inherit, constraint mixes check (n > b), constraint floats check (f < n), constraint casts check (lang in ('de', 'en')),
    constraint is_null check ((a is null) = (b is null)), constraint nested check (((((a > 1) or (b > 1)) and ((a < 9) or (b < 9)))) or t = 'a''b\c')
);
alter table checks add constraint invalid check (b < 1000) not valid;
create unique index on checks (a) nulls not distinct;
create unique index on checks (a, b) include (t);
create unique index on checks (f);
create index on checks (d, a) where a > 1 and t is not null and b is not null;
create index on checks (n); create index on checks (f desc); create index on checks (t desc); create index on checks (u, ok, kind);
create index on checks using hash (t); create index on checks ((a + 1)); create index on checks (lower(t), a); create index on checks (a) where false;
create table excluded (id int primary key, during tsrange, exclude using gist (during with &&));
create table wide (id int primary key, c1 int, c2 int, c3 text not null, c4 int, c5 int, c6 text not null, c7 int, c8 int, c9 text not null, c10 int, c11 int, c12 text not null, c13 int, c14 int, c15 text not null, c16 int, c17 int, c18 text not null, c19 int, c20 int, c21 text not null, c22 int, c23 int, c24 text not null, c25 int, c26 int, c27 text not null, c28 int, c29 int, c30 text not null, c31 int, c32 int, c33 text not null, c34 int, c35 int, c36 text not null, c37 int, c38 int, c39 text not null, c40 int, c41 int, c42 text not null, c43 int, c44 int, c45 text not null, c46 int, c47 int, c48 text not null, c49 int, c50 int, c51 text not null, c52 int, c53 int, c54 text not null, c55 int, c56 int, c57 text not null, c58 int, c59 int, c60 text not null);
