-- Rows of the odd database.
insert into "Weird Schema"."select" ("class", "null", "a""b", "名前", self, "from", revision, created, expires, op, "Size", size, "_private__x_", "  spaces  ")
select n, case when n % 2 = 0 then 'x' end, 'A"' || n, '名' || n, n, (array['it''s', 'back\slash', '#'])[1 + n % 3], n, 'c', now(), 'o', n, -n, '', ' s ' from generate_series(1, 20) n;
insert into "other"."select" values ('', '', '-1', '{1,-1}'), ('a:b{}*', 'ä', '1', '{}'), ('%', 'true', 'VALUE_1', null);
insert into users values (1, null, 1, null), (2, 1, 1, null), (3, 2, 2, null);
set constraints all immediate;
begin; set constraints all deferred; insert into a values (1, 1); insert into b values (1, 1); insert into c values (1, 1); commit;
insert into one_to_one values (1, 'x');
insert into composite_child values (1, 1), (2, 3);
insert into refers_to_composite values (1, 1, 1), (2, null, null);
insert into refers_to_unique values (1, '', 1), (2, null, 2);
insert into numeric_key values (1), (9999999999); insert into refers_numeric values (1, 9999999999);
insert into date_key values ('2020-01-01', true), ('0001-01-01', null), ('infinity', false); insert into refers_date values (1, 'infinity');
insert into bool_key values (true, '2020-01-01', 1.50), (false, '-infinity', 'NaN');
insert into enum_key values ('+', 1), ('-1', 1); insert into only_enum_key values ('VALUE_1'); insert into bytes_key values ('\x00ff', '\x'), ('', null);
insert into no_key_but_unique values (1, '', 0.1), (-2147483648, 'ü', -0.0);
insert into domains values (1, 1, '{1,2}', 3);
insert into parent values (1, 'p'); insert into child values (1, 'c', 9), (2, null, null);
insert into logs select timestamptz '2020-01-01' + n * interval '0.1 second', n, 'x' from generate_series(1, 5) n;
insert into "名" values (1); insert into package values (1); insert into "None" values (1, 2); insert into store values (1, 'o', 2);
insert into "USERS" values (5); insert into "User" values ('00000000-0000-0000-0000-000000000001', 'u'); insert into excluded values (1, '[2020-01-01,2021-01-01)');
insert into checks (id, a, b, t, f, d, m, n, u, ok, lang, kind, bad) values
    (1, 4, 3, 'abc', 1.5, '2022-01-01', '2022-01-01', 5.125, 'ffffffff-0000-0000-0000-000000000000', true, 'de', 'x', '');
insert into wide (id, c3, c6, c9, c12, c15, c18, c21, c24, c27, c30, c33, c36, c39, c42, c45, c48, c51, c54, c57, c60)
select n, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p', 'q', 'r', 's', 't' from generate_series(1, 3) n;
insert into everything values (
    9223372036854775807, -32768, 0.1, 123456789012345678901234567890.123456789, 12345, 0.00999, E'tab\t\u00e9 \\ "q"', 'x', 'y', 'name', B'101', B'1',
    '12.34', '10.0.0.0/8', '08:00:2b:01:02:03', '(1,2)', '[1,5)', null, 'fat cat', array['{"a": 1e2}', 'null']::jsonb[], row (1, '{x}', '2020-01-01'),
    array[row (1, '{}', null)]::nested[], '1 day 02:03:04.5', '10:00+02', '{a,b}', array['00000000-0000-0000-0000-000000000001']::uuid[],
    '{2020-01-01 00:00:00.000001+00}', array['\x01'::bytea], '{1.50,2}', '{2020-02-29}', '{23:59:59.999999}', '{t,f}', '{"b": [1, 2.50, null, "\u00fc"], "a": {}}',
    '0/1', 4294967295, '{"[1,2]"}', '{2020-01-01}', '{-1 day}', '{abc}', '{+,1}');
insert into everything (id, b, c, v, x, z, ff) values (2, 'NaN', null, null, null, null, null), (3, null, 'Infinity', null, null, null, null),
    (4, null, null, '1 month', null, null, null), (5, null, null, null, '{{a,b},{c,d}}', null, null), (6, null, null, null, '{null}', null, null),
    (7, null, null, null, null, '{infinity}', null), (8, null, null, null, null, null, '{"n": 0.12345678901234567890}'),
    (9, null, null, null, null, null, '{"n": 1e999}'), (10, null, null, null, null, null, '{"n": 123456789012345678901234567890}');
